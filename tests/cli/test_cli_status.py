"""`grokray status` and `grokray collect`: what a folder says."""

from __future__ import annotations

import errno
import json
import re
import time

import pytest

from grokray.cli.main import main
from grokray.records.holder import Holder
from grokray.sweep.load import load_sweep


def test_status_of_an_interrupted_sweep(begun, capsys):
    folder = begun(interrupted=True)
    assert main(["status", str(folder.store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"small in {folder.store}"
    assert lines[1].startswith("interrupted, last activity 20")
    assert lines[2:6] == [
        "8 trials: 2 ended · 1 begun · 5 waiting",
        "outcomes: 1 grokked · 1 budget",
        "phases: 2 memorization · 1 comprehension",
        "steps: 3,900 in 1 session",
    ]
    (rule,) = [i for i, line in enumerate(lines) if line.startswith("──")]
    assert [line.split()[1:4] for line in lines[rule + 1 :]] == [
        ["1,000", "100", "%"],
        [">", "2,000", "50.0"],
        [">", "700", "25.0"],
    ]


def test_status_as_json(begun, capsys):
    folder = begun()
    assert main(["status", str(folder.store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "stopped"
    assert found["holder"] is None
    assert (found["total"], found["ended"], found["running"], found["waiting"]) == (8, 2, 1, 5)
    assert found["outcomes"] == {"grokked": 1, "budget": 1}
    assert found["best"][0]["grok_step"] == 1000
    assert found["best"][0]["config"]["weight_decay"] == 0.1
    assert found["sessions"][0]["started"] == "2026-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("silent_s", "state"), [(1, "in use by 'grokray sweep x' (process 1 on far"), (500, "nobody works on it, last")]
)
def test_where_nothing_can_be_locked_the_lease_tells_whether_anybody_works_there(
    silent_s, state, begun, capsys, monkeypatch
):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("grokray.cli.holder.fcntl.flock", refuse)
    folder, now = begun(), time.time()
    holder = Holder(host="far", pid=1, command="grokray sweep x", since=now, refreshed=now - silent_s, token="t")
    folder.store.write_atomic("lock", holder.encode())
    assert main(["status", str(folder.store)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(state)


def test_status_says_by_how_much_a_clock_is_ahead(begun, capsys):
    folder = begun()
    with folder.writer("engine") as journal:
        journal.write("kernels", trial_id=next(iter(folder.state().trials)), compiled=False, t=time.time() + 7_300)
    assert main(["status", str(folder.store)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert re.search(r"last activity 20.* UTC by a clock that is 2 h 1 min ahead of this machine's$", line)


def test_status_says_what_became_of_audited_trials(begun, capsys):
    folder = begun()
    ids = list(folder.state().trials)
    with folder.writer("driver") as journal:
        for trial_id, action in ((ids[0], "audit"), (ids[1], "audit"), (ids[2], "stop")):
            decision = {"action": action, "rung": 0, "audit_probability": 0.5}
            journal.write("decision", trial_id=trial_id, step=600, **decision)
    assert main(["status", str(folder.store)]) == 0
    assert "audit: 2 of 3 trials to be stopped ran on, 1 of them grokked" in capsys.readouterr().out.splitlines()
    assert main(["status", str(folder.store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"] == {"stops": 3, "audited": 2, "grokked": 1}


def end_as_failed(folder, *errors: str) -> None:
    """The last of its trials, each with an error."""
    ids = list(folder.state().trials)[-len(errors) :]
    with folder.writer("driver") as journal:
        for trial_id, error in zip(ids, errors, strict=True):
            journal.write("end", trial_id=trial_id, outcome="failed", step=0, error=error)


def test_status_says_why_trials_failed(begun, capsys):
    folder, why = begun(), "AcceleratorError: CUDA error: an illegal memory access"
    end_as_failed(folder, f"{why}\nand more of it", f"{why}\nand more of it")
    assert main(["status", str(folder.store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:5] == ["outcomes: 1 grokked · 1 budget · 2 failed", f"failed: 2 × {why}"]
    assert main(["status", str(folder.store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == {f"{why}\nand more of it": 2}


def test_of_many_reasons_the_most_frequent_are_said(begun, capsys):
    folder = begun()
    with folder.writer("driver") as journal:
        for i, error in enumerate("abbcde"):
            config = load_sweep(folder.store.local_path("sweep.yaml")).trial_config({"num_steps": 50 + i}, 0)
            journal.write("trial", trial_id=str(i), index=9 + i, configuration=9, seed=0, config=config.model_dump())
            journal.write("end", trial_id=str(i), outcome="failed", step=0, error=error)
    assert main(["status", str(folder.store)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed")]
    assert lines == [
        *("failed: 2 × b", "failed: 1 × a", "failed: 1 × c"),
        "failed: 2 other reasons, in the column error of trials.parquet",
    ]


def test_status_tells_who_works_there_and_gets_in_nobody_s_way(begun, capsys):
    folder = begun()
    with folder.lock("grokray sweep small.yaml"):
        assert main(["status", str(folder.store)]) == 0
        assert "in use by 'grokray sweep small.yaml' (process " in capsys.readouterr().out
        assert main(["status", str(folder.store), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["state"] == "running"
    assert main(["status", str(folder.store)]) == 0
    assert "nobody works on it, " in capsys.readouterr().out


def test_what_an_earlier_session_began_waits_until_the_one_that_goes_on_starts_it(begun, capsys):
    folder = begun(interrupted=True)
    third, fourth = list(folder.state().trials)[2:]
    meta = {"versions": {}, "command": "grokray sweep small.yaml", "fingerprint": {}}
    with folder.lock("grokray sweep small.yaml"), folder.writer("again") as journal:
        journal.write("sweep", session="b", number=2, **meta)
        journal.write("start", trial_id=fourth, attempt=0, step=0, session="b")
        journal.flush()
        assert main(["status", str(folder.store)]) == 0
        assert "8 trials: 2 ended · 1 running · 5 waiting" in capsys.readouterr().out
        journal.write("start", trial_id=third, attempt=1, step=700, session="b")
        journal.flush()
        assert main(["status", str(folder.store)]) == 0
        assert "8 trials: 2 ended · 2 running · 4 waiting" in capsys.readouterr().out


def test_status_tells_of_engines_that_do_not_answer_while_somebody_works_there(begun, capsys):
    folder = begun()
    with folder.writer("driver") as journal:
        for engine, state in [("engine-0", "silent"), ("engine-1", "silent"), ("engine-1", "answers")]:
            journal.write("engine", engine=engine, state=state, session="a")
    with folder.lock("grokray sweep small.yaml"):
        assert main(["status", str(folder.store)]) == 0
        said = [line for line in capsys.readouterr().out.splitlines() if "engine-" in line]
        assert re.fullmatch(r"engine-0 does not go on since 20\d\d-.* UTC: what it trains waits", "".join(said))
        assert main(["status", str(folder.store), "--json"]) == 0
        assert [*json.loads(capsys.readouterr().out)["silent_engines"]] == ["engine-0"]
    assert main(["status", str(folder.store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["silent_engines"] == {}


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_status_fits_the_terminal(columns, begun, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(begun().store.local_path())
    assert main(["status", "."]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert max(map(len, lines)) <= columns
    words = {*re.findall("[a-z]+", " ".join(lines[4:]))}
    assert {"trial", "grok", "held", "decay", "fraction", "seed", "memorized", "outcome"} <= words


def test_status_writes_nothing(begun):
    folder = begun()
    before = folder.store.sizes()
    main(["status", str(folder.store)])
    assert folder.store.sizes() == before


@pytest.mark.parametrize("command", ["status", "collect"])
def test_a_folder_that_is_no_sweep_is_refused(command, tmp_path, capsys):
    assert main([command, str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/nowhere is no sweep's folder: it holds no meta.json\n"
    (tmp_path / "file").write_text("")
    assert main([command, str(tmp_path / "file")]) == 2
    assert "is a file, but must be a folder" in capsys.readouterr().err


def test_collect_of_parts_collects_each(begun, tmp_path, capsys):
    for k in (1, 2):
        begun(f"whole/part-{k}of2")
    assert main(["collect", f"{tmp_path}/whole"]) == 0
    assert capsys.readouterr().out.splitlines()[::2] == [
        f"trials: {tmp_path}/whole/part-{k}of2/trials.parquet (4 rows)" for k in (1, 2)
    ]
    assert all((tmp_path / f"whole/part-{k}of2/trials.parquet").exists() for k in (1, 2))


def test_collect_says_what_it_wrote(begun, capsys):
    folder = begun()
    assert main(["collect", str(folder.store)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"trials: {folder.store}/trials.parquet (4 rows)",
        f"curves: {folder.store}/curves/ (3 rows in 1 file)",
    ]
    with open(folder.store.local_path(folder.store.list("journal")[0]), "a") as journal:
        journal.write("torn\n")
    assert main(["collect", str(folder.store)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 line of the journal could not be read")


def test_a_journal_that_lost_a_part_is_said_and_nothing_goes_on_without_it(begun, space, capsys):
    folder = begun()
    assert main(["collect", str(folder.store)]) == 0
    (name,) = folder.store.list("journal")
    lines = folder.store.read_bytes(name).splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["event"] != "measurement"]
    folder.store.write_atomic(name, b"".join(kept))
    capsys.readouterr()
    assert main(["status", str(folder.store)]) == 0
    out = capsys.readouterr().out
    assert "the tables hold 3 rows more than the journal: a part of it is lost" in out
    assert "2 trials without the last measurements" in out
    assert main(["status", str(folder.store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["lost_rows"], found["cut_short"]) == (3, 2)
    assert main(["sweep", str(space), "--out", str(folder.store)]) == 2
    assert "journal has lost a part: the tables hold 3 rows more" in capsys.readouterr().err
    folder.store.delete_tree("journal")
    assert main(["sweep", str(space), "--out", str(folder.store)]) == 2
    assert "holds tables but no journal" in capsys.readouterr().err
    assert not folder.begun()


def test_tables_alone_do_not_tell_how_a_sweep_is_doing(begun, capsys):
    folder = begun()
    assert main(["collect", str(folder.store)]) == 0
    folder.store.delete_tree("journal")
    capsys.readouterr()
    assert main(["status", str(folder.store)]) == 2
    assert "holds tables but no journal" in capsys.readouterr().err
    assert main(["collect", str(folder.store)]) == 2
    folder.store.delete("manifest.json")
    assert main(["collect", str(folder.store)]) == 0  # as while a sweep starts: there is no row
    assert main(["status", str(folder.store)]) == 0
    assert "nothing has happened yet" in capsys.readouterr().out


def test_tables_of_what_is_left_of_a_journal_are_said_to_be_cut_short(begun, capsys):
    folder = begun()
    with folder.writer("engine") as journal:
        journal.write("finish", trial_id=list(folder.state().trials)[2], attempt=1, step=2000, outcome="budget")
    assert main(["collect", str(folder.store)]) == 0
    assert "1 trial without the last measurements: a part of the journal is lost" in capsys.readouterr().out
