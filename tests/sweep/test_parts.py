"""A sweep in parts: several drivers, none of which knows of the others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from grokray.analysis.sweeps import load_sweeps
from grokray.cli.overview import trials_in_all
from grokray.errors import ConfigError, FolderError
from grokray.records.folder import META, SweepFolder
from grokray.records.parts import missing_parts, not_there, part_folder, parts_of
from grokray.records.store import Store
from grokray.records.uri import join
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import run_sweep
from tests.sweep.sweeps import GRID, check_every_trial_ended_once, write

RANDOM = GRID.replace("method: grid", "method: random\nnum_trials: 11").replace(
    "{values: [0, 0.2]}", "{min: 0.0, max: 0.4}"
)


def ledger_of(folder, part: str | None, text: str = RANDOM) -> Ledger:
    folder.mkdir(exist_ok=True)
    config = load_sweep(write(folder, text), [] if part is None else [f"part={part}"])
    meta = {"versions": {}, "command": "test"}
    return Ledger(SweepFolder.create_or_open(folder / "out", config.to_yaml(), config.fingerprint(), meta), config)


def drawn(ledger: Ledger) -> list[str]:
    given = []
    while (assignment := ledger.next_assignment()) is not None:
        given.append(assignment.trial_id)
    return given


@pytest.mark.parametrize("text", [RANDOM, GRID, GRID.replace("method: grid", "method: sobol\nnum_trials: 10")])
def test_the_parts_are_the_whole_each_trial_in_one_of_them(tmp_path, text):
    whole = ledger_of(tmp_path / "whole", None, text)
    parts = [ledger_of(tmp_path / str(k), f"{k}/3", text) for k in (1, 2, 3)]
    left = [part.to_run for part in parts]
    assert sum(left) == whole.to_run
    trials = [drawn(part) for part in parts]
    assert [len(own) for own in trials] == left
    together = [trial for own in trials for trial in own]
    assert len(set(together)) == len(together)
    assert set(together) == set(drawn(whole))


def test_a_part_goes_on_where_it_stopped(tmp_path):
    ledger = ledger_of(tmp_path, "2/3")
    first = [ledger.next_assignment().trial_id for _ in range(3)]  # type: ignore[union-attr]
    assert trials_in_all(ledger.config, ledger.poll()) == 8
    again = ledger_of(tmp_path, "2/3")
    assert again.to_run == 8
    assert drawn(again)[:3] == first
    assert {*again.poll().configurations} == {1, 4, 7, 10}
    assert trials_in_all(again.config, again.poll()) == 8


def test_a_part_that_finds_nothing_new_ends(tmp_path):
    """Eight configurations are there, a hundred are asked for."""
    text = GRID.replace("method: grid", "method: random\nnum_trials: 100").replace("[0.1, 1]", "[1]")
    ledger = ledger_of(tmp_path, "2/2", text)
    assert len(drawn(ledger)) == 16
    assert ledger.to_run == 16
    assert trials_in_all(ledger.config, ledger.poll()) == 16


def test_the_part_is_written_down_and_another_one_is_another_sweep(tmp_path):
    ledger = ledger_of(tmp_path, "2/3")
    assert load_sweep(tmp_path / "out" / "sweep.yaml").part == "2/3"
    with pytest.raises(FolderError, match="part"):
        ledger_of(tmp_path, "1/3")
    ledger.close()


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "1/0", "a/b", "1/1001", "-1/3"])
def test_what_is_no_part_is_refused_with_the_rule(tmp_path, part):
    with pytest.raises(ConfigError, match=r"part is .*, but must be K/N with 1 <= K <= N <= 1,000, such as 2/4"):
        load_sweep(write(tmp_path, RANDOM), [f"part={part}"])


def test_a_search_that_learns_from_all_trials_has_no_parts(tmp_path):
    with pytest.raises(ConfigError, match=r"part is 1/2, but the method tpe learns"):
        load_sweep(write(tmp_path, RANDOM.replace("method: random", "method: tpe")), ["part=1/2"])


def test_a_folder_is_for_a_whole_sweep_or_for_so_many_parts(tmp_path):
    out = str(tmp_path / "out")
    assert part_folder(out, 2, 3) == f"{out}/part-2of3"
    Store.from_uri(f"{out}/part-2of3").write_atomic(META, b"{}")
    assert part_folder(out, 1, 3) == f"{out}/part-1of3"
    with pytest.raises(FolderError, match=r"holds part-2of3, so it is for parts of 3, and not of 2"):
        part_folder(out, 1, 2)
    Store.from_uri(out).write_atomic(META, b"{}")
    with pytest.raises(FolderError, match="holds a whole sweep"):
        part_folder(out, 1, 3)


def test_parts_stand_in_their_order_and_a_folder_without_stands_for_itself(tmp_path):
    for k in (10, 2, 1):
        Store.from_uri(tmp_path / f"part-{k}of10").write_atomic(META, b"{}")
    assert [path.rsplit("/", 1)[1] for path in parts_of(tmp_path)] == ["part-1of10", "part-2of10", "part-10of10"]
    assert parts_of(tmp_path / "part-1of10") == [str(tmp_path / "part-1of10")]
    assert parts_of(tmp_path / "nowhere") == [str(tmp_path / "nowhere")]


def test_parts_that_are_missing_are_named(tmp_path):
    assert missing_parts(tmp_path, parts_of(tmp_path)) == []
    for k in (2, 4):
        Store.from_uri(tmp_path / f"part-{k}of6").write_atomic(META, b"{}")
    missing = missing_parts(tmp_path, parts_of(tmp_path))
    assert missing == ["part-1of6", "part-3of6", "part-5of6", "part-6of6"]
    end = "are not there: these are not all trials of the sweep"
    assert not_there(missing) == f"part-1of6, part-3of6 and 2 more {end}"
    assert not_there(missing[:3]) == f"{', '.join(missing[:2])} and {missing[2]} {end}"
    assert not_there(missing[:2]) == f"part-1of6 and part-3of6 {end}"
    assert not_there(missing[:1]) == "part-1of6 is not there: these are not all trials of the sweep"
    one = tmp_path / "part-2of6"
    assert missing_parts(one, parts_of(one)) == []


def test_a_part_of_a_uri_keeps_the_options_at_its_end():
    assert join("s3://bucket/robust/?region=eu", "part-1of2") == "s3://bucket/robust/part-1of2?region=eu"


@pytest.mark.ray
def test_drivers_of_parts_and_what_reads_all_of_them(one_core, tmp_path):
    fewer = {"[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "{value: 300}": "{value: 60}"}
    for k in (1, 2):
        config = load_sweep(write(tmp_path, **fewer), [f"part={k}/2"])
        run_sweep(config, part_folder(str(tmp_path / "out"), k, 2))
        check_every_trial_ended_once(tmp_path / "out" / f"part-{k}of2", 4)
    sweeps = load_sweeps(tmp_path / "out")
    assert sweeps.names == ("part-1of2", "part-2of2")
    assert sweeps.trials.num_rows == 8
    assert sorted(sweeps.trials["trial_index"].to_pylist()) == list(range(8))
    done = subprocess.run(
        [sys.executable, "-m", "grokray", "status", str(tmp_path / "out"), "--json"], capture_output=True, text=True
    )
    assert [part["ended"] for part in json.loads(done.stdout)["parts"]] == [4, 4]
    assert sweeps.notes == ()
    shutil.rmtree(tmp_path / "out" / "part-1of2")
    said = "part-1of2 is not there: these are not all trials of the sweep"
    assert load_sweeps(tmp_path / "out").notes == (said,)
    done = subprocess.run(
        [sys.executable, "-m", "grokray", "status", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == said

    shutil.copytree(tmp_path / "out" / "part-2of2", tmp_path / "out" / "part-1of2")
    shutil.rmtree(tmp_path / "out" / "part-1of2" / "journal")
    read = [sys.executable, "-m", "grokray", "status", str(tmp_path / "out")]
    done = subprocess.run(read, capture_output=True, text=True)
    assert done.returncode == 2
    lost, there = done.stdout.split("\n\n")[:2]
    assert "part-1of2 holds tables but no journal" in lost
    assert "4 trials: 4 ended" in there
    assert done.stderr.startswith("error: ")
    done = subprocess.run([*read, "--json"], capture_output=True, text=True)
    one, two = json.loads(done.stdout)["parts"]
    assert one["error"] in done.stderr
    assert (done.returncode, two["ended"]) == (2, 4)


@pytest.mark.timeout(60)
def test_an_address_that_nothing_answers_at_is_said_within_seconds(monkeypatch):
    monkeypatch.setenv("GROKRAY_STORE_PATIENCE", "1000")
    monkeypatch.setattr("grokray.records.patience.IMPATIENCE_S", 0.1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    for look in (parts_of, lambda uri: part_folder(uri, 1, 2)):
        with pytest.raises(FolderError, match="nothing answers at its address"):
            look("s3://bucket/x")
