"""Whole sweeps on a real Ray: what is written, whoever executes it and whatever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest

from grokray.engine.engine import Engine
from grokray.errors import ExecutionError, FolderBusy, FolderError
from grokray.records.folder import SweepFolder
from grokray.records.holder import Holder
from grokray.records.lock import Lock
from grokray.sweep.checkpoints import TrialCheckpoints, trials_with_checkpoints
from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import Observer, run_sweep
from tests.sweep.sweeps import (
    GRID,
    check_every_trial_ended_once,
    check_little_was_computed_twice,
    curves,
    events,
    trials,
    write,
)

pytestmark = pytest.mark.ray

FEW = {"[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "{value: 300}": "{value: 120}"}  # 8 trials


@pytest.fixture(scope="module")
def undisturbed(ray_up, tmp_path_factory) -> Path:
    """All 32 trials, run in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_sweep(load_sweep(write(folder)), folder / "out")
    return folder / "out"


def test_a_sweep_writes_its_tables(undisturbed):
    check_every_trial_ended_once(undisturbed, 32)
    table = trials(undisturbed)
    assert set(table["outcome"].to_pylist()) == {"budget"}
    assert set(table["censor_reason"].to_pylist()) == {"budget"}
    assert set(table["duration_steps"].to_pylist()) == {300}
    assert curves(undisturbed).num_rows == 32 * 15
    assert (undisturbed / "sweep.yaml").exists()
    assert not list((undisturbed / "checkpoints").rglob("*.pt"))


@pytest.mark.parametrize("execution", ["fused", "process"])
def test_a_folder_that_cannot_be_written_ends_the_sweep_and_no_trial(one_core, tmp_path, execution):
    out = tmp_path / "out"
    few = FEW | {"seeds: [0, 1]": "seeds: [0]", "[0.1, 1]": "[1]"}
    # Of processes one is enough: each takes 3 s of a core to get up.
    few |= {"[0, 0.2]": "[0.2]"} if execution == "process" else {}
    config = load_sweep(write(tmp_path, GRID + f"execution: {execution}\n", **few))
    SweepFolder.create_or_open(out, config.to_yaml(), config.fingerprint(), {"versions": {}, "command": ""})
    (out / "checkpoints").write_text("in the way")
    with pytest.raises(FolderError, match="checkpoints") as error:
        run_sweep(config, out)
    assert "run the same command again" in str(error.value.hint).lower()
    assert {e["fault"] for e in events(out, "failure")} == {"folder"}
    assert events(out, "end") == []
    (out / "checkpoints").unlink()
    run_sweep(config, out)
    check_every_trial_ended_once(out, 1 if execution == "process" else 2)
    assert set(trials(out)["outcome"].to_pylist()) == {"budget"}


@pytest.mark.parametrize("error", [BrokenPipeError("closed"), SystemExit(1)], ids=type)
def test_a_sweep_that_nobody_hears_any_more_is_interrupted_and_loses_nothing(one_core, tmp_path, error):
    def progress(progress):
        if progress.steps:
            raise error

    config, out = load_sweep(write(tmp_path, **{"{value: 300}": "{value: 30000}"})), tmp_path / "out"
    with pytest.raises(type(error)):
        run_sweep(config, out, observer=Observer(progress=progress))
    assert len(events(out, "interrupt")) == 1
    assert events(out, "checkpoint")
    assert trials(out)["steps_trained"].to_pylist()
    assert events(out, "failure") == events(out, "end") == []


def test_who_loses_the_folder_stops_and_writes_no_tables(one_core, tmp_path, monkeypatch):
    lost = threading.Event()

    @contextmanager
    def hold_for_a_while(store, name, **_):
        lock = Lock(Holder.here("mine"), str(store))
        lock.lost = lost
        yield lock

    monkeypatch.setattr("grokray.records.folder.hold", hold_for_a_while)
    observer = Observer(progress=lambda progress: lost.set())
    with pytest.raises(ExecutionError, match="was taken over by another process"):
        run_sweep(load_sweep(write(tmp_path)), tmp_path / "out", observer=observer)
    assert not (tmp_path / "out/manifest.json").exists()
    assert not (tmp_path / "out/trials.parquet").exists()
    assert events(tmp_path / "out", "sweep")


def _nothing_is_left(ledger: Ledger) -> None:
    assert trials_with_checkpoints(ledger.folder.store) == set()


def test_fused_and_process_execution_give_the_same_curves_and_delete_checkpoints_as_trials_end(
    one_core, tmp_path, monkeypatch
):
    monkeypatch.setattr(Ledger, "tidy", _nothing_is_left)
    outs = []
    for execution in ("fused", "process"):
        folder = tmp_path / execution
        folder.mkdir()
        text = GRID + f"execution: {execution}\nresources: {{cpu: 0.5}}\n"
        text = text.replace("[0, 0.2]", "[0.2]").replace("[0.1, 1]", "[1]")
        run_sweep(load_sweep(write(folder, text, **FEW)), folder / "out")
        outs.append(folder / "out")
    assert curves(outs[0]).num_rows == 2 * 6
    assert curves(outs[0]).equals(curves(outs[1]))
    assert trials(outs[0]).equals(trials(outs[1]))


def test_asha_stops_trials_at_rungs_and_says_why(one_core, tmp_path):
    text = GRID + "scheduler: {type: asha, grace_period: 60, reduction_factor: 2, metric: train_loss}\n"
    run_sweep(load_sweep(write(tmp_path, text)), tmp_path / "out")
    check_every_trial_ended_once(tmp_path / "out", 32)
    pruned = trials(tmp_path / "out").filter([o == "pruned" for o in trials(tmp_path / "out")["outcome"].to_pylist()])
    assert 0 < pruned.num_rows < 32
    assert set(pruned["censor_reason"].to_pylist()) == {"pruned"}
    assert set(pruned["duration_steps"].to_pylist()) <= {60, 120, 240}
    stopped = {e["trial_id"] for e in events(tmp_path / "out", "decision") if e["action"] == "stop"}
    assert stopped == set(pruned["trial_id"].to_pylist())
    assert not list((tmp_path / "out" / "checkpoints").rglob("*.pt"))


@pytest.mark.slow
def test_audited_trials_run_on_and_the_table_says_which_they_are(ray_up, tmp_path):
    """Two starts of the driver: the second finds half of the decisions in the journal."""
    text = GRID + (
        "scheduler: {type: grok_asha, grace_period: 60, fit_threshold: 0.05, patience: 60, audit_fraction: 0.5}\n"
    )
    out = tmp_path / "out"
    process = driver(write(tmp_path, text), out)
    wait_for(out, '"event":"decision"', 20, process)
    process.kill()
    process.wait()
    run_sweep(load_sweep(write(tmp_path, text)), out)
    check_every_trial_ended_once(out, 32)
    table = trials(out).to_pylist()
    wanted = [row for row in table if row["stop_step"] is not None]
    assert {row["outcome"] for row in table if row["stop_step"] is None} == {"budget"}
    assert {(row["audited"], row["outcome"]) for row in wanted} == {(True, "budget"), (False, "pruned")}
    assert {row["audit_probability"] for row in wanted} == {0.5}
    assert {row["duration_steps"] for row in wanted if row["audited"]} == {300}
    stops = [e for e in events(out, "decision") if e["action"] != "continue"]
    assert len(stops) == len({e["trial_id"] for e in stops}) == len(wanted)
    asked = [(e["trial_id"], e["rung"]) for e in events(out, "decision")]
    assert len(asked) == len(set(asked))


def test_a_trial_that_has_grokked_ends_and_its_seat_is_free_at_once(one_core, tmp_path):
    """Chance is enough to grok here, and there is one seat for all trials."""
    text = GRID.replace("threshold: 1.0, sustain: 100", "threshold: 0.05, sustain: 1") + "resources: {cpu: 1}\n"
    out = tmp_path / "out"
    run_sweep(load_sweep(write(tmp_path, text, **{"[1e-3, 3e-3, 1e-2, 3e-2]": "[1e-3]"})), out)
    table = trials(out).to_pylist()
    assert {row["outcome"] for row in table} == {"grokked"}
    assert all(row["steps_trained"] == row["grok_step"] < 300 for row in table)
    (part,) = (out / "journal").glob("engine*.jsonl")
    told = [json.loads(line)["event"] for line in part.read_text().splitlines()]
    # Each starts when the one before it has finished.
    assert [event for event in told if event in ("start", "finish")] == ["start", "finish"] * 8


def test_tpe_runs_to_its_end(one_core, tmp_path):
    text = GRID.replace("method: grid", "method: tpe\nnum_trials: 6\nmetric: {name: heldout_loss}")
    text = text.replace("{values: [0.1, 1]}", "{distribution: log_uniform_values, min: 0.01, max: 3}")
    result = run_sweep(load_sweep(write(tmp_path, text, **{"{value: 300}": "{value: 60}"})), tmp_path / "out")
    check_every_trial_ended_once(tmp_path / "out", 12)
    assert result.progress.ended == 12
    assert len({p["weight_decay"] for p in (e["parameters"] for e in events(tmp_path / "out", "suggest"))}) == 6


def test_the_same_command_on_a_finished_folder_runs_nothing(undisturbed):
    before = trials(undisturbed)
    config = load_sweep(undisturbed / "sweep.yaml")
    # The driver was killed when all trials had ended, and a checkpoint of one was still there.
    left = undisturbed / "checkpoints" / before["trial_id"][0].as_py() / f"{60:010d}-{'0' * 64}.pt"
    left.parent.mkdir(parents=True)
    left.touch()
    result = run_sweep(config, undisturbed)
    assert not left.exists()
    assert result.progress.ended == 32
    assert trials(undisturbed).equals(before)
    assert len(events(undisturbed, "start")) == 32


def test_a_sweep_that_grows_ends_as_if_it_had_been_as_large_at_once(one_core, undisturbed, tmp_path):
    path, out, told = write(tmp_path), tmp_path / "out", []
    few = load_sweep(path, ["seeds=[1]"], num_trials=3)
    assert run_sweep(few, out).progress.ended == 3
    before = trials(out)
    result = run_sweep(load_sweep(path), out, observer=Observer(message=told.append))
    assert told[:2] == [
        "the sweep grows: num_trials was 3, is now left out; seeds was [1], is now [0, 1]",
        "going on: of 32 trials 29 are left to run",
    ]
    assert result.progress.ended == 32
    check_every_trial_ended_once(out, 32)
    assert trials(out).slice(0, 3).equals(before)
    assert _by_id(trials(out)).equals(_by_id(trials(undisturbed)))
    assert _by_id(curves(out)).equals(_by_id(curves(undisturbed)))
    with pytest.raises(FolderError, match="num_trials was left out, is now 3"):
        run_sweep(few, out)


def _by_id(table: pa.Table) -> pa.Table:
    """Without the numbers of trials, which depend on when they came."""
    keys = [(name, "ascending") for name in ("trial_id", "step") if name in table.column_names]
    return table.sort_by(keys).drop_columns(["trial_index"])


def test_another_search_space_is_refused(undisturbed, tmp_path):
    other = load_sweep(write(tmp_path, **{"seeds: [0, 1]": "seeds: [0, 2]"}))
    with pytest.raises(FolderError, match=r"seeds"):
        run_sweep(other, undisturbed)


def test_a_second_sweep_in_one_folder_is_refused(undisturbed):
    config = load_sweep(undisturbed / "sweep.yaml")
    with SweepFolder.open(undisturbed).lock(), pytest.raises(FolderBusy, match=str(os.getpid())):
        run_sweep(config, undisturbed)


def _engine_of_each_start(out: Path, trial_id: str) -> list[tuple[int, int]]:
    """(attempt, process id of the engine) of each start of a trial, from the names of the journal's parts."""
    found = []
    for part in sorted((out / "journal").glob("engine*.jsonl")):
        pid = int(part.stem.rsplit("-", 2)[1])
        for line in part.read_text().splitlines():
            if '"event":"start"' in line and trial_id in line:
                found.append((int(line.split('"attempt":')[1].split(",")[0]), pid))
    return found


def test_a_killed_engine_costs_no_trial(ray_up, undisturbed, tmp_path):
    killed: list[int] = []
    done = threading.Event()

    def kill_one_engine() -> None:
        while not done.is_set() and not killed:
            time.sleep(0.05)
            for part in (tmp_path / "out" / "journal").glob("engine*.jsonl"):
                # Of 16 trials: to begin some of them anew would cost more than a checkpoint's interval.
                if part.read_text().count('"event":"checkpoint"') >= 24:
                    killed.append(int(part.stem.rsplit("-", 2)[1]))
                    os.kill(killed[0], signal.SIGKILL)
                    return

    killer = threading.Thread(target=kill_one_engine)
    killer.start()
    run_sweep(load_sweep(write(tmp_path)), tmp_path / "out")
    done.set()
    killer.join()
    assert killed
    assert events(tmp_path / "out", "failure")
    check_every_trial_ended_once(tmp_path / "out", 32)
    check_little_was_computed_twice(tmp_path / "out", 60)
    assert trials(tmp_path / "out").drop_columns(["error"]).equals(trials(undisturbed).drop_columns(["error"]))
    assert curves(tmp_path / "out").equals(curves(undisturbed))


class Doomed(EngineActor):
    """An engine whose training fails soon after a trial has come."""

    async def create(self, seat, config):
        threading.Timer(0.5, self._die, [RuntimeError("out of luck")]).start()
        return await super().create(seat, config)


def test_why_an_engine_died_is_said_of_its_trial(one_core, tmp_path, monkeypatch):
    one = GRID.replace("sustain: 100", "sustain: 100, retries: 0").replace("seeds: [0, 1]", "seeds: [0]")
    config = load_sweep(
        write(
            tmp_path,
            one,
            **{"[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "[0.1, 1]": "[1]", "[0, 0.2]": "[0]"},
            **{"{value: 300}": "{value: 100000}"},
        )
    )
    monkeypatch.setattr("grokray.sweep.engines.EngineActor", Doomed)
    result = run_sweep(config, tmp_path / "out")
    errors = trials(tmp_path / "out")["error"].to_pylist()
    assert errors == ["RuntimeError: out of luck"]
    assert result.progress.errors == {"RuntimeError: out of luck": 1}
    assert result.progress.outcomes == {"failed": 1}


@pytest.mark.slow
def test_a_trial_that_kills_its_engine_every_time_fails_alone(ray_up, tmp_path):
    """A thread kills whichever engine seats the victim, as a config would that eats all memory."""
    config = load_sweep(write(tmp_path, GRID.replace("sustain: 100", "sustain: 100, retries: 1"), **FEW))
    victim = config.trial_config(next(config.grid()), 1).id
    out, done = tmp_path / "out", threading.Event()

    def kill_its_engines() -> None:
        struck: set[tuple[int, int]] = set()
        while not done.is_set():
            time.sleep(0.02)
            for start in set(_engine_of_each_start(out, victim)) - struck:
                struck.add(start)
                with suppress(ProcessLookupError):
                    os.kill(start[1], signal.SIGKILL)

    killer = threading.Thread(target=kill_its_engines)
    killer.start()
    run_sweep(config, out)
    done.set()
    killer.join()
    check_every_trial_ended_once(out, 8)
    outcomes = dict(zip(trials(out)["trial_id"].to_pylist(), trials(out)["outcome"].to_pylist(), strict=True))
    assert outcomes.pop(victim) == "failed"
    assert set(outcomes.values()) == {"budget"}
    assert len(_engine_of_each_start(out, victim)) <= 2 + 2


@pytest.mark.parametrize("execution", ["fused", pytest.param("process", marks=pytest.mark.slow)])
def test_a_trial_with_an_error_of_its_own_is_retried_and_then_fails_with_its_cause(one_core, tmp_path, execution):
    """Its checkpoint is another trial's, so it raises whenever it is seated."""
    text = (
        GRID.replace("sustain: 100", "sustain: 100, retries: 1").replace("[0, 0.2]", "[0]").replace("[0.1, 1]", "[1]")
    )
    config = load_sweep(write(tmp_path, text + f"execution: {execution}\n", **FEW))
    victim, other = (config.trial_config(next(config.grid()), seed) for seed in (0, 1))
    engine = Engine()
    engine.join("other", other)
    engine.next()
    folder = SweepFolder.create_or_open(
        tmp_path / "out", config.to_yaml(), config.fingerprint(), {"versions": {}, "command": "test"}
    )
    TrialCheckpoints(folder.store, victim.id, "none").write(engine.save("other"))
    ledger = Ledger(folder, config)
    assert ledger.next_assignment().trial_id == victim.id
    ledger.write("start", trial_id=victim.id, attempt=0, step=0)  # else nobody would look for a checkpoint
    ledger.close()
    run_sweep(config, tmp_path / "out")
    check_every_trial_ended_once(tmp_path / "out", 2)
    table = {row["trial_id"]: row for row in trials(tmp_path / "out").to_pylist()}
    assert (table[victim.id]["outcome"], table[other.id]["outcome"]) == ("failed", "budget")
    assert "belongs to trial" in table[victim.id]["error"]
    failures = events(tmp_path / "out", "failure")
    assert [f["fault"] for f in failures] == ["trial", "trial"]


def test_books_that_cannot_be_written_end_the_sweep_with_their_error(one_core, tmp_path, monkeypatch):
    end = Ledger.end

    def full_disk(ledger, *args, **kwargs):
        raise FolderError("the disk is full")

    monkeypatch.setattr(Ledger, "end", full_disk)
    config = load_sweep(write(tmp_path, **FEW))
    with pytest.raises(FolderError, match="the disk is full"):
        run_sweep(config, tmp_path / "out")
    monkeypatch.setattr(Ledger, "end", end)
    run_sweep(config, tmp_path / "out")
    check_every_trial_ended_once(tmp_path / "out", 8)


DRIVER = """
import os, sys
os.cpu_count = lambda: int(sys.argv[3])
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import Observer, run_sweep
result = run_sweep(load_sweep(sys.argv[1]), sys.argv[2])
sys.exit(130 if result.interrupted else 0)
"""


def driver(path: Path, out: Path, *, cores: int = 2) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(path), str(out), str(cores)], cwd=path.parent)


def wait_for(out: Path, text: str, count: int, process: subprocess.Popen) -> None:
    """Until the journal has so many lines with the text."""
    deadline = time.monotonic() + 240
    while sum(p.read_text().count(text) for p in (out / "journal").glob("*.jsonl")) < count:
        if time.monotonic() > deadline:
            process.kill()  # or it would train on beside the next tests
            process.wait()
            pytest.fail(f"{count} lines with {text} did not come")
        if process.poll() is not None:
            return
        time.sleep(0.05)


def test_a_killed_driver_loses_nothing(undisturbed, tmp_path):
    path, out = write(tmp_path), tmp_path / "out"
    moments = random.Random(7)
    for kill in range(2):
        process = driver(path, out)
        seen = len(events(out, "measurement")) if out.exists() else 0
        wait_for(out, '"event":"measurement"', seen + moments.randrange(1, 140), process)
        assert process.poll() is None, f"the sweep had ended before kill {kill}"
        process.kill()
        process.wait()
    assert not run_sweep(load_sweep(path), out).interrupted
    check_every_trial_ended_once(out, 32)
    check_little_was_computed_twice(out, 60)
    assert trials(out).equals(trials(undisturbed))
    assert curves(out).equals(curves(undisturbed))


def test_an_interrupted_sweep_keeps_every_step_and_goes_on(one_core, undisturbed, tmp_path):
    path, out = write(tmp_path), tmp_path / "out"
    process = driver(path, out, cores=1)
    wait_for(out, '"event":"measurement"', 60, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    running = {e["trial_id"] for e in events(out, "start")} - {e["trial_id"] for e in events(out, "finish")}
    assert running
    assert running <= {e["trial_id"] for e in events(out, "checkpoint")}
    assert trials(out).num_rows == 32
    assert not run_sweep(load_sweep(path), out).interrupted
    check_every_trial_ended_once(out, 32)
    check_little_was_computed_twice(out, 0)
    assert trials(out).equals(trials(undisturbed))
    assert curves(out).equals(curves(undisturbed))
