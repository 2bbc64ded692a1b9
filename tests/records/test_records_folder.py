from __future__ import annotations

import fcntl
import json
import pickle
import signal
import subprocess
import sys

import pytest
from records_helpers import VERSIONS, make_folder

from grokray.errors import FolderBusy, FolderError
from grokray.records import lock
from grokray.records.folder import SweepFolder
from grokray.records.lock import hold
from grokray.records.store import Store


def test_a_new_folder_is_described(tmp_path):
    folder = make_folder(tmp_path / "new/sweep", {"space": {"weight_decay": [0, 1]}, "order": ("a", "b")})
    assert folder.sweep_yaml == "num_trials: 3\n"
    meta = json.loads((tmp_path / "new/sweep/meta.json").read_text())
    assert meta["schema_version"] == 1
    assert meta["versions"] == VERSIONS
    assert meta["fingerprint"] == {"space": {"weight_decay": [0, 1]}, "order": ["a", "b"]}
    assert meta["created"].endswith("+00:00")


def test_the_same_search_space_is_gone_on_with(tmp_path):
    first = make_folder(tmp_path, {"a": (1, 2), "b": 0.1})
    with first.lock():
        pass
    again = make_folder(tmp_path, {"b": 0.1, "a": [1, 2]})
    with again.lock():
        pass
    assert again.meta["created"] == first.meta["created"]
    assert [visit["command"] for visit in SweepFolder.open(tmp_path).meta["commands"]] == ["grokray run space.yaml"] * 2
    assert pickle.loads(pickle.dumps(again)).fingerprint == {"a": [1, 2], "b": 0.1}


def test_what_a_killed_process_left_half_written_goes_with_the_next_that_works_there(tmp_path):
    folder = make_folder(tmp_path)
    names = (
        "checkpoints/ab12/.0000000100-ff.pt.0a1b2c3d.tmp",
        "examples/.ab12.jsonl.0a1b2c3d.tmp",
        ".meta.json.0a1b.tmp",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "checkpoints/ab12/0000000100-ff.pt").touch()
    with folder.lock():
        pass
    assert not [path for path in tmp_path.rglob("*.tmp")]
    assert (tmp_path / "checkpoints/ab12/0000000100-ff.pt").exists()


def test_another_search_space_is_refused_with_what_differs(tmp_path):
    make_folder(tmp_path, {"num_trials": 16, "gone": 1, "long": "x" * 100, "same": 1})
    with pytest.raises(FolderError) as caught:
        make_folder(tmp_path, {"num_trials": 32, "new": "ü", "long": "", "same": 1})
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path} holds a sweep of another search space:"
    assert "  num_trials was 16, is now 32" in lines
    assert "  gone was 1, is now absent" in lines
    assert "  new was absent, is now ü" in lines
    assert len(lines) == 5
    assert max(map(len, lines[1:])) < 100


SMALL = {"method": '"grid"', "num_trials": "3", "seeds": "[0, 1]"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"num_trials": "5"}, "num_trials was 3, is now 5"),
        ({"num_trials": "null"}, "num_trials was 3, is now left out"),  # the whole grid
        ({"seeds": "[2, 1, 0]"}, "seeds was [0, 1], is now [2, 1, 0]"),
        ({"seeds": json.dumps([*range(30)])}, "seeds are now with 2, 3, 4, …"),
        ({"num_trials": "5", "seeds": "[0, 1, 2]"}, "num_trials was 3, is now 5; seeds was [0, 1], is now [0, 1, 2]"),
    ],
)
def test_a_sweep_may_grow(more, said, tmp_path):
    grown = SMALL | more
    with make_folder(tmp_path, SMALL).lock():
        pass
    assert SweepFolder.find(tmp_path, grown).growth == said
    larger = make_folder(tmp_path, grown, sweep_yaml="num_trials: more\n")
    assert larger.growth == said
    found = SweepFolder.open(tmp_path)
    assert (found.fingerprint, found.sweep_yaml) == (SMALL, "num_trials: 3\n")  # others may work there yet
    with larger.lock():
        pass
    found = SweepFolder.open(tmp_path)
    assert (found.fingerprint, found.sweep_yaml) == (grown, "num_trials: more\n")
    assert len(found.meta["commands"]) == 2
    assert make_folder(tmp_path, grown).growth is None


def test_a_sweep_that_was_killed_as_it_grew_grows_when_it_goes_on(tmp_path, monkeypatch):
    grown = SMALL | {"seeds": "[0, 1, 2]"}
    with make_folder(tmp_path, SMALL).lock():
        pass
    killed = make_folder(tmp_path, grown, sweep_yaml="seeds: more\n")
    write, written = type(killed.store).write_atomic, []

    def write_one(self, name, data):
        if written:
            raise KeyboardInterrupt
        written.append(name)
        write(self, name, data)

    monkeypatch.setattr(type(killed.store), "write_atomic", write_one)
    with pytest.raises(KeyboardInterrupt), killed.lock():
        pytest.fail("the second file was not written")
    monkeypatch.undo()
    larger = make_folder(tmp_path, grown, sweep_yaml="seeds: more\n")
    assert larger.growth is not None
    with larger.lock():
        pass
    found = SweepFolder.open(tmp_path)
    assert (found.fingerprint, found.sweep_yaml) == (grown, "seeds: more\n")


LEAVE = "a sweep may grow, but not shrink: leave"


@pytest.mark.parametrize(
    ("was", "now", "said", "hint"),
    [
        ({"num_trials": "5"}, {}, "num_trials was 5, is now 3", f"{LEAVE} num_trials as it was, or choose"),
        ({"num_trials": "null"}, {}, "num_trials was left out, is now 3", f"{LEAVE} num_trials as it was, or choose"),
        ({}, {"seeds": "[1, 2]"}, "seeds was [0, 1], is now [1, 2]", f"{LEAVE} seed 0 in, or choose"),
        ({}, {"seeds": "[2]"}, "seeds was [0, 1], is now [2]", "choose another folder with --out"),
        (
            {"seeds": json.dumps([*range(30)])},
            {"seeds": json.dumps([*range(2, 31)])},
            "seeds are now without 0, 1 and with 30",
            f"{LEAVE} seeds 0, 1 in, or choose",
        ),
        (
            {"num_trials": "5"},
            {"seeds": "[0, 1, 2]"},
            "num_trials was 5, is now 3\n  seeds was [0, 1], is now [0, 1, 2]",
            f"{LEAVE} num_trials as it was, or choose",
        ),
        (
            {"method": '"tpe"'},
            {"method": '"tpe"', "seeds": "[0, 1, 2]", "num_trials": "4"},
            "num_trials was 3, is now 4\n  seeds was [0, 1], is now [0, 1, 2]",
            "tpe chose each configuration by what all seeds of others gave: leave seeds as they were, or choose",
        ),
    ],
)
def test_a_sweep_may_not_shrink_nor_may_tpe_have_other_seeds(was, now, said, hint, tmp_path):
    folder = make_folder(tmp_path, SMALL | was)
    folder.writer("driver").write("sweep", session="a", versions={}, command="", fingerprint={})
    with pytest.raises(FolderError) as caught:
        make_folder(tmp_path, SMALL | now)
    assert str(caught.value).partition("\n")[2] == f"  {said}"
    assert caught.value.hint.startswith(hint)


def test_what_grows_and_differs_is_another_search_space(tmp_path):
    make_folder(tmp_path, {"num_trials": "3", "seed": "0", "seeds": "[0]"})
    with pytest.raises(FolderError, match=r"num_trials was 3, is now 5\n  seed was 0, is now 1\n  seeds was \[0\], is"):
        make_folder(tmp_path, {"num_trials": "5", "seed": "1", "seeds": "[0, 1]"})


def test_seeds_in_another_order_are_the_same_sweep(tmp_path):
    make_folder(tmp_path, SMALL)
    again = make_folder(tmp_path, SMALL | {"seeds": "[1, 0]"})
    assert again.growth is None
    with again.lock():
        pass
    assert SweepFolder.open(tmp_path).fingerprint == SMALL


def test_a_sweep_that_grew_meanwhile_does_not_shrink_again(tmp_path):
    small = make_folder(tmp_path, {"num_trials": 3})
    with make_folder(tmp_path, {"num_trials": 4}).lock():
        pass
    with pytest.raises(FolderError, match="num_trials was 4, is now 3"), small.lock():
        pytest.fail("it would be the smaller one")


def test_of_lists_of_names_those_are_told_that_one_lacks(tmp_path):
    names = [f"a_rather_long_parameter_{i}" for i in range(9)]
    make_folder(tmp_path, {"parameters": json.dumps(names), "seeds": "[0, 1]"})
    for now, line in (
        ([*names, "dropout"], "parameters are now with dropout"),
        ([*names[1:], "dropout"], "parameters are now without a_rather_long_parameter_0 and with dropout"),
        (names[::-1], "parameters stand in another order"),
    ):
        with pytest.raises(FolderError) as caught:
            make_folder(tmp_path, {"parameters": json.dumps(now), "seeds": "[0]"})
        assert str(caught.value).splitlines()[1:] == [f"  {line}", "  seeds was [0, 1], is now [0]"]


def test_a_folder_in_which_nothing_happened_may_be_removed_and_others_not(tmp_path):
    folder = make_folder(tmp_path, {"x": 0})
    with pytest.raises(FolderError) as new:
        make_folder(tmp_path, {"x": 1})
    assert new.value.hint == "nothing has happened there yet: remove it, or choose another folder with --out"
    writer = folder.writer("driver")
    writer.write("interrupt", session="a")
    writer.close()
    with pytest.raises(FolderError) as begun:
        make_folder(tmp_path, {"x": 1})
    assert begun.value.hint == "choose another folder with --out"


def test_at_most_ten_lines_of_difference(tmp_path):
    make_folder(tmp_path, {f"x{i:02}": 0 for i in range(30)})
    with pytest.raises(FolderError) as caught:
        make_folder(tmp_path, {f"x{i:02}": 1 for i in range(30)})
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 10
    assert lines[-1] == "  and 21 more"


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "sweep.yaml").write_text("mine")
    with pytest.raises(FolderError, match=r"is not empty and holds no sweep \(no meta.json, but sweep.yaml\)"):
        make_folder(tmp_path)
    assert (tmp_path / "sweep.yaml").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_hidden_files_and_a_lock_are_no_content(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "lock").write_text("")
    assert make_folder(tmp_path).fingerprint == {"num_trials": 3}


def test_a_crash_while_making_the_folder_is_mended(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "sweep.yaml").unlink()
    assert make_folder(tmp_path).sweep_yaml == "num_trials: 3\n"


def test_open_says_what_it_looked_for(tmp_path):
    with pytest.raises(FolderError, match=r"nowhere is no sweep's folder: it holds no meta.json"):
        SweepFolder.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 99, "fingerprint": {}}'])
def test_a_damaged_or_later_description_is_refused(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(FolderError, match=r"damaged|schema_version of .*meta.json is 99, but must be at most 1"):
        SweepFolder.open(tmp_path)


HOLD = """
import sys, time
from grokray.records.folder import SweepFolder
with SweepFolder.open(sys.argv[1]).lock("grokray run space.yaml --yes"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    folder = make_folder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy) as caught, folder.lock():
            pytest.fail("two processes hold one lock")
        process.send_signal(signal.SIGKILL)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} is in use by 'grokray run space.yaml --yes' (process {process.pid} on ")
    assert "UTC)" in message
    with folder.lock("next") as held:
        assert json.loads((tmp_path / "lock").read_text())["pid"] == held.holder.pid
    assert folder.meta["commands"][-1]["command"] == "grokray run space.yaml"


def test_who_only_looks_whether_the_folder_is_in_use_keeps_nobody_out(tmp_path, monkeypatch):
    folder = make_folder(tmp_path)
    with folder.lock():  # so that there is a file, with the name of one that has gone
        pass
    with open(tmp_path / "lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
        with folder.lock("next") as held:
            assert held.holder.command == "next"


def test_a_refused_process_leaves_no_trace(tmp_path):
    with make_folder(tmp_path).lock():
        before = (tmp_path / "meta.json").read_bytes()
        with pytest.raises(FolderBusy), make_folder(tmp_path).lock():
            pytest.fail("two hold one lock")
        assert (tmp_path / "meta.json").read_bytes() == before


def test_two_that_made_the_folder_at_once(tmp_path):
    folder = make_folder(tmp_path, {"num_trials": 3})
    (tmp_path / "meta.json").unlink()
    (tmp_path / "sweep.yaml").unlink()
    make_folder(tmp_path, {"num_trials": 4})
    with pytest.raises(FolderError, match="num_trials was 4, is now 3"), folder.lock():
        pytest.fail("the folder is another sweep's")


def test_a_filesystem_without_locks_gets_an_advisory_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr("grokray.records.store.SETTLE_S", 0)
    store = Store.from_uri(tmp_path)
    with hold(store, "lock", command="first"), pytest.raises(FolderBusy, match="'first'"), hold(store, "lock"):
        pytest.fail("two hold one lock")
    with hold(store, "lock"):
        pass
