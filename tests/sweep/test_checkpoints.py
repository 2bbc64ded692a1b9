"""What a trainer keeps of its trials, without Ray: checkpoints by each rule, examples, and what a crash leaves."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from grokray.engine.checkpoint import Checkpoint, from_bytes
from grokray.errors import FolderError
from grokray.records.store import Store
from grokray.sweep import trainer as of_trainer
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.background import Background
from grokray.sweep.best import Best, rank
from grokray.sweep.checkpoints import (
    CheckpointFile,
    TrialCheckpoints,
    is_checkpoint_step,
    names_by_trial,
    trials_with_checkpoints,
)
from grokray.sweep.sections import KEEP, TrialSection
from grokray.sweep.trainer import Trainer
from grokray.tasks.resolve import resolve

CONFIG = resolve(
    {
        **{"operation": "x+y_mod", "modulus": 7, "num_layers": 1, "dim_model": 8, "num_heads": 1, "batch_size": 16},
        **{"learning_rate": 3e-2, "num_steps": 100, "eval_interval": 10, "threshold": 1.0, "sustain": 100},
    }
)
ID = CONFIG.id


@pytest.fixture(autouse=True, params=[0, 3], ids=["at once", "beside the training"])
def _written(request, monkeypatch):
    monkeypatch.setattr(of_trainer, "Background", lambda threads: Background(request.param))


def assignment(keep: str = "none", **options) -> Assignment:
    fields = {"checkpoint_interval": 20, "keep_checkpoints": keep, **options}
    return Assignment(trial_id=ID, config=CONFIG.model_dump(), **fields)


def trainer(folder: Path) -> Trainer:
    return Trainer(Store.from_uri(folder), role="test", compile="off")


def train(folder: Path, keep: str = "none", *, until: int | None = None, heard: bool = True, **options) -> list[Report]:
    """To the end, and whether the driver has `heard` of that; or until a step was measured: then the process dies,
    which is to leave everything as it is."""
    measured = []
    own = Trainer(Store.from_uri(folder), role="test", compile="off", on_measurement=lambda m: measured.append(m.step))
    own.start(assignment(keep, **options))
    reports: list[Report] = []
    while not reports and (until is None or until not in measured):
        reports = own.turn()
    if heard and reports and reports[0].outcome:
        own.stop(ID, save=False)
    own.close()
    return reports


def settled(folder: Path, keep: str) -> bool:
    store = Store.from_uri(folder)
    return TrialCheckpoints(store, ID, keep).is_settled(names_by_trial(store).get(ID, []))


def kept(folder: Path) -> list[tuple[str, int]]:
    return [(f.kind, f.step) for f in TrialCheckpoints(Store.from_uri(folder), ID, "none").files()]


def measurements(folder: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for part in folder.glob("journal/*") for line in part.read_text().splitlines()]
    return {e["step"]: e["metrics"] for e in lines if e["event"] == "measurement"}


def read(folder: Path, kind: str) -> Checkpoint:
    (file,) = [f for f in TrialCheckpoints(Store.from_uri(folder), ID, "none").files() if f.kind == kind]
    return from_bytes((folder / file.name).read_bytes(), file.sha256)


def same_tensors(a: Checkpoint, b: Checkpoint) -> bool:
    return all(torch.equal(t, b.tensors[kind][name]) for kind, ts in a.tensors.items() for name, t in ts.items())


def best_step(folder: Path) -> int:
    curve = measurements(folder)
    return max(curve, key=lambda step: (rank(curve[step]), -step))


@pytest.mark.parametrize("keep", KEEP)
def test_each_rule_keeps_its_files_when_the_trial_ends(keep, tmp_path):
    train(tmp_path, keep)
    best, last = ("best", best_step(tmp_path)), ("last", 100)
    by_step = [("step", step) for step in (20, 40, 60, 80)]
    expected = {"none": [], "last": [last], "best": [best], "last+best": [best, last], "all": [best, last, *by_step]}
    assert sorted(kept(tmp_path)) == sorted(expected[keep])
    assert (tmp_path / "checkpoints" / ID).exists() == bool(expected[keep])
    assert settled(tmp_path, keep)


def test_the_last_measurement_may_be_the_best(tmp_path, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr("grokray.sweep.best.rank", lambda metrics: (next(numbers), 0))
    train(tmp_path / "ended", "best")
    assert kept(tmp_path / "ended") == [("best", 100)]
    own = trainer(tmp_path)
    own.start(assignment("best", rungs=(30,)))
    while not own.turn():
        pass
    own.stop(ID, save=False)
    assert ("best", 30) in kept(tmp_path)


def test_while_it_trains_only_the_newest_state_lies_there_and_the_best(tmp_path):
    train(tmp_path, "last+best", until=70)
    best = best_step(tmp_path)
    assert dict(kept(tmp_path))["step"] == 60
    assert [kind for kind, _ in kept(tmp_path) if kind == "last"] == []
    if best <= 60:
        assert ("best", best) in kept(tmp_path)
    train(tmp_path / "none", "none", until=70)
    assert kept(tmp_path / "none") == [("step", 60)]


def test_what_is_kept_is_the_state_that_was_measured(tmp_path):
    train(tmp_path, "last+best")
    for kind in ("last", "best"):
        checkpoint = read(tmp_path, kind)
        assert checkpoint.metrics == measurements(tmp_path)[checkpoint.step]
        assert checkpoint.trial_id == ID
    assert read(tmp_path, "last").step == 100
    assert not same_tensors(read(tmp_path, "last"), read(tmp_path, "best")) or best_step(tmp_path) == 100


def test_a_trial_that_was_killed_keeps_the_same_as_one_that_was_not(tmp_path):
    """Killed after the best state was found, and again before it was written."""
    train(tmp_path / "undisturbed", "all", examples=3)
    for until in (30, 70, 90):
        train(tmp_path / "killed", "all", until=until, examples=3)
    train(tmp_path / "killed", "all", examples=3)
    assert kept(tmp_path / "killed") == kept(tmp_path / "undisturbed")
    for kind in ("last", "best"):
        one, other = read(tmp_path / "killed", kind), read(tmp_path / "undisturbed", kind)
        assert same_tensors(one, other)
        assert one.metrics == other.metrics
    assert examples(tmp_path / "killed") == examples(tmp_path / "undisturbed")


def test_a_damaged_checkpoint_is_passed_over_and_said_and_the_best_one_found_anew(tmp_path, caplog):
    train(tmp_path, "all", until=50)
    files = TrialCheckpoints(Store.from_uri(tmp_path), ID, "all")
    for file in files.files():
        if file.step == 40 or file.kind == "best":
            data = bytearray((tmp_path / file.name).read_bytes())
            data[len(data) // 2] ^= 1
            (tmp_path / file.name).write_bytes(data)
    newest = files.latest()
    assert newest is not None
    assert newest.step == 20
    (said,) = caplog.messages
    assert f"{ID}/0000000040-" in said
    assert said.endswith("was written; going on without it")
    assert files.best_so_far() is None
    train(tmp_path, "last+best")
    after = {step: metrics for step, metrics in measurements(tmp_path).items() if step > 20}
    best = max(after, key=lambda step: (rank(after[step]), -step))
    assert ("best", best) in kept(tmp_path)
    assert same_tensors(read(tmp_path, "last"), undisturbed_end(tmp_path / "undisturbed"))


def undisturbed_end(folder: Path) -> Checkpoint:
    train(folder, "last")
    return read(folder, "last")


def test_a_trial_stopped_for_good_ends_in_the_state_in_which_it_was_stopped(tmp_path):
    own = trainer(tmp_path)
    own.start(assignment("last+best", rungs=(50,)))
    while not own.turn():
        pass
    own.stop(ID, save=False)
    own.stop(ID, save=False)
    files = TrialCheckpoints(own.store, ID, "last+best")
    files.settle()
    files.settle()
    assert sorted(kept(tmp_path)) == sorted([("best", best_step(tmp_path)), ("last", 50)])
    assert read(tmp_path, "last").metrics == measurements(tmp_path)[50]
    TrialCheckpoints(own.store, ID, "none").settle()
    assert kept(tmp_path) == []


def test_a_checkpoint_takes_the_place_of_earlier_ones_of_its_kind_and_of_no_later_one(tmp_path):
    """An engine that lost contact may not know that the trial goes on elsewhere."""
    train(tmp_path, until=50)
    files = TrialCheckpoints(Store.from_uri(tmp_path), ID, "none")
    (tmp_path / files.folder / "notes.txt").write_text("of somebody else")
    state = files.latest()
    assert state is not None
    files.write(replace(state, step=20))
    assert kept(tmp_path) == [("step", 20), ("step", 40)]
    files.write(state)
    assert kept(tmp_path) == [("step", 40)]
    files.write(replace(state, step=60), "best")
    assert kept(tmp_path) == [("step", 40), ("best", 60)]
    for metrics in ({}, state.metrics):  # of one step, which is measured by now
        files.write(replace(state, step=60, metrics=metrics))
        assert kept(tmp_path) == [("best", 60), ("step", 60)]


def test_settling_turns_the_newest_state_of_a_lost_trial_into_its_last_one(tmp_path):
    train(tmp_path, "last", until=70)
    files = TrialCheckpoints(Store.from_uri(tmp_path), ID, "last")
    assert not settled(tmp_path, "last")
    files.settle()
    assert kept(tmp_path) == [("last", 60)]
    assert settled(tmp_path, "last")
    assert not settled(tmp_path, "none")
    assert trials_with_checkpoints(files.store) == {ID}


def test_settling_leaves_the_furthest_state_alone_whatever_was_left_before(tmp_path):
    """A failed trial that is run again, and fails again, further on or sooner, as its tables have it."""
    for until, furthest in ((50, 40), (70, 60), (50, 60)):
        train(tmp_path, "last", until=until)
        TrialCheckpoints(Store.from_uri(tmp_path), ID, "last").settle()
        assert kept(tmp_path) == [("last", furthest)]


def test_settling_leaves_no_step_of_an_interruption(tmp_path):
    own = trainer(tmp_path)
    own.start(assignment("all", rungs=(50,)))
    while not own.turn():
        pass
    own.stop(ID, save=True)
    own.close()
    assert ("step", 50) in kept(tmp_path)
    TrialCheckpoints(own.store, ID, "all", lambda step: step % 20 == 0).settle()
    assert [file for file in kept(tmp_path) if file[0] != "best"] == [("step", 20), ("step", 40), ("last", 50)]


def test_a_trial_interrupted_between_two_measurements_has_no_metrics(tmp_path):
    config = CONFIG.model_copy(update={"eval_interval": 100})
    own = trainer(tmp_path)
    own.start(Assignment(trial_id=ID, config=config.model_dump()))
    assert own.turn(lambda: True) == []
    assert (own.busy, own.seated_steps > 0) == (True, True)
    own.stop(ID, save=True)
    assert (own.busy, own.trials) == (False, ())
    assert 0 < read(tmp_path, "step").step < 100
    assert read(tmp_path, "step").metrics == {}


def test_all_trials_are_saved_together_each_where_it_is(tmp_path, monkeypatch):
    own, other = trainer(tmp_path), CONFIG.model_copy(update={"split_seed": 5, "eval_interval": 15})
    own.start(assignment(checkpoint_interval=1000))
    own.start(Assignment(trial_id=other.id, config=other.model_dump()))
    own.turn(lambda: True)
    alone = {trial: own.engine.save(trial) for trial in (ID, other.id)}
    monkeypatch.setattr(own.engine, "save", None)
    assert own.save_all() == 2
    for trial, expected in alone.items():
        (file,) = TrialCheckpoints(own.store, trial, "none").files()
        found = from_bytes((tmp_path / file.name).read_bytes(), file.sha256)
        assert (file.kind, file.step, found.trial_id) == ("step", expected.step, trial)
        assert same_tensors(found, expected)


def test_a_trial_at_a_rung_that_nobody_decided_about_is_reported_there_once_more(tmp_path):
    rungs = (20, 45, 60)
    (first,) = train(tmp_path, rungs=rungs)
    assert (first.step, first.rung) == (20, 20)
    own = trainer(tmp_path)
    assert own.start(assignment(rungs=rungs, attempt=1)) == 20
    assert own.busy
    assert own.training == 0
    assert [told(r) for r in own.turn()] == [told(first)]
    own.save_all()  # as when the driver is interrupted
    own.close()
    again = trainer(tmp_path)
    again.start(assignment(rungs=rungs, attempt=2))
    assert [told(r) for r in again.turn()] == [told(first)]
    assert not again.busy
    again.proceed(ID)
    (second,) = turns(again)
    assert (second.step, second.rung) == (50, 45)
    again.proceed(ID)
    (third,) = turns(again)
    assert (third.step, third.rung) == (60, 60)
    again.close()
    decided = trainer(tmp_path)
    decided.start(assignment(rungs=rungs, decided=60, attempt=3))
    assert decided.training == 1
    assert turns(decided)[0].outcome == "budget"


def test_a_rung_before_the_checkpoint_that_had_no_answer_is_passed(tmp_path):
    train(tmp_path, until=40)
    own = trainer(tmp_path)
    assert own.start(assignment(rungs=(20, 25), attempt=1)) == 40
    assert turns(own)[0].outcome == "budget"


def told(report: Report) -> Report:
    return replace(report, wall_time_s=0.0)


def turns(own: Trainer) -> list[Report]:
    while not (reports := own.turn()):
        assert own.busy
    return reports


def test_a_trial_stopped_before_its_report_was_heard_is_not_heard_of_again(tmp_path):
    train(tmp_path, rungs=(20,))
    own = trainer(tmp_path)
    own.start(assignment(rungs=(20,), attempt=1))
    own.stop(ID, save=True)
    assert not own.busy
    assert own.turn() == []


@pytest.mark.parametrize("name", ["Keepsakes", "JournalWriter.write"])
def test_what_fails_about_seating_leaves_nobody_in_the_engine(tmp_path, monkeypatch, name):
    own = trainer(tmp_path)

    def fail(*args, **fields):
        if name == "Keepsakes" or args[1] == "kernels":
            raise FolderError("the disk is gone for a moment")
        return write(*args, **fields)

    write = of_trainer.JournalWriter.write
    with monkeypatch.context() as patched:
        patched.setattr(f"grokray.sweep.trainer.{name}", fail)
        with pytest.raises(FolderError):
            own.start(assignment())
    assert own.engine.trials == own.trials == ()
    own.start(assignment(attempt=1))
    assert turns(own)[0].outcome == "budget"


def test_the_journal_knows_who_is_to_be_seated_before_the_checkpoint_is_read(tmp_path, monkeypatch):
    train(tmp_path, until=40)

    def starts() -> list[tuple[int, int]]:
        lines = [json.loads(line) for part in tmp_path.glob("journal/*") for line in part.read_text().splitlines()]
        return sorted((e["attempt"], e["step"]) for e in lines if e["event"] == "start")

    def read_and_die(*args, **named):
        assert starts() == [(0, 0), (1, 40)]
        raise MemoryError

    monkeypatch.setattr(of_trainer.TrialCheckpoints, "latest", read_and_die)
    with pytest.raises(MemoryError):
        trainer(tmp_path).start(assignment(attempt=1))


def test_the_journal_is_safe_before_a_checkpoint_is_read_and_before_one_is_written(tmp_path, monkeypatch):
    """In an object store lines wait for a second or five: nobody would measure again what lies before a checkpoint."""
    order = []

    def noted(kind, name):
        original = getattr(kind, name)

        def act(self, *args):
            order.append(name)
            return original(self, *args)

        monkeypatch.setattr(kind, name, act)

    noted(of_trainer.JournalWriter, "flush")
    noted(of_trainer.TrialCheckpoints, "latest")
    noted(of_trainer.TrialCheckpoints, "write")
    noted(of_trainer.Keepsakes, "measured")
    own = trainer(tmp_path)
    own.start(assignment())
    while "write" not in order:
        own.turn()
    own.close()  # its threads would tell the next test of theirs
    assert order[:5] == ["flush", "latest", "measured", "measured", "flush"]


def test_the_last_checkpoint_is_there_before_the_journal_says_that_the_trial_has_finished(tmp_path, monkeypatch):
    order, write, say = [], of_trainer.TrialCheckpoints.write, of_trainer.JournalWriter.write

    def write_slowly(self, checkpoint, kind):
        time.sleep(0.05)
        written = write(self, checkpoint, kind)
        order.append(kind)
        return written

    def note(self, event, **fields):
        order.append(event)
        say(self, event, **fields)

    monkeypatch.setattr(of_trainer.TrialCheckpoints, "write", write_slowly)
    monkeypatch.setattr(of_trainer.JournalWriter, "write", note)
    train(tmp_path, "last")
    assert order[:2] == ["start", "kernels"]
    assert order[-3:] == ["last", "checkpoint", "finish"]


def test_checkpoints_are_there_until_the_journal_says_that_the_trial_has_finished(tmp_path, monkeypatch):
    own, flush = trainer(tmp_path), of_trainer.JournalWriter.flush
    own.start(assignment())

    def flush_unless_finished(self):
        if not own.trials:
            raise FolderError("full")
        flush(self)

    monkeypatch.setattr(of_trainer.JournalWriter, "flush", flush_unless_finished)
    with pytest.raises(FolderError):
        turns(own)
    assert kept(tmp_path) == [("step", 80)]


@pytest.mark.parametrize("keep", ["none", "last+best"])
def test_what_has_finished_is_gone_on_with_by_a_driver_whose_books_lack_it(tmp_path, keep):
    """An engine outlives its driver for some seconds, and the next driver's books may have been opened before."""
    train(tmp_path, keep, heard=False)
    own = trainer(tmp_path)
    assert own.start(assignment(keep, attempt=1)) == 80
    turns(own)
    own.stop(ID, save=True)  # interrupted: who knows whether anybody hears of the end
    assert ("step", 80) in kept(tmp_path)
    train(tmp_path, keep, attempt=2)
    assert [kind for kind, _ in kept(tmp_path)] == ([] if keep == "none" else ["best", "last"])


def test_a_checkpoint_that_goes_while_they_are_looked_at_is_passed_over(tmp_path, monkeypatch, caplog):
    train(tmp_path, "all", until=40)
    there = TrialCheckpoints(Store.from_uri(tmp_path), ID, "all")
    listed = [*there.store.list(there.folder), f"{there.folder}/{60:010d}-{'0' * 64}.pt"]
    monkeypatch.setattr(there.store, "list", lambda folder: listed)
    found = there.latest()
    assert found is not None
    assert found.step == 40
    assert not caplog.records


def test_all_are_those_of_the_interval_whatever_interrupted_the_trial(tmp_path):
    own = trainer(tmp_path)
    own.start(assignment("all"))
    measured = 0
    while measured < 50:
        own.turn()
        measured = max(measurements(tmp_path), default=0)
    own.save_all()
    own.close()
    assert [step for kind, step in kept(tmp_path) if kind == "step"] == [20, 40, measured]
    train(tmp_path, "all", attempt=1)
    assert [step for kind, step in kept(tmp_path) if kind == "step"] == [20, 40, 60, 80]


def test_names_of_files():
    sha = "0123456789abcdef" * 4
    assert CheckpointFile.of(f"a/best-0000000020-{sha}.pt") == CheckpointFile(
        name=f"a/best-0000000020-{sha}.pt", kind="best", step=20, sha256=sha
    )
    assert CheckpointFile.of(f"0000000020-{sha}.pt").kind == "step"  # type: ignore[union-attr]
    for other in ("mine.pt", f"first-0000000020-{sha}.pt", f"20-{sha}.pt", f"best-0000000020-{sha}.pt.tmp"):
        assert CheckpointFile.of(other) is None


def test_the_best_measurement_is_that_with_most_right_answers_then_the_lowest_loss():
    nan = float("nan")
    ranked = [
        {},
        {"heldout_exact_match": 0.5, "heldout_loss": nan},
        {"heldout_exact_match": 0.5, "heldout_loss": 2.0},
        {"heldout_exact_match": 0.5, "heldout_loss": 1.0},
        {"heldout_exact_match": 0.6, "heldout_loss": 9.0},
    ]
    assert sorted(reversed(ranked), key=rank) == ranked
    assert rank({"heldout_exact_match": nan, "heldout_loss": nan}) == rank({})


def test_of_equal_measurements_the_first_is_kept():
    best = Best(SimpleNamespace(best_so_far=lambda: None))  # type: ignore[arg-type]
    for name in ("first", "second"):
        best.observe({"heldout_exact_match": 1.0, "heldout_loss": 0.5}, lambda name=name: name)  # type: ignore[arg-type]
    assert (best.take(), best.take()) == ("first", None)


@pytest.mark.parametrize(("value", "meaning"), [(True, "last"), (False, "none"), ("best", "best"), ("all", "all")])
def test_the_rule_may_still_be_true_or_false(value, meaning):
    assert TrialSection(keep_checkpoints=value).keep_checkpoints == meaning


# -- examples


def examples(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "examples" / f"{ID}.jsonl").read_text().splitlines()]


def test_examples_are_the_same_rows_at_every_measurement(tmp_path):
    train(tmp_path, examples=4)
    lines = examples(tmp_path)
    rows: dict[int, list] = {}
    for line in lines:
        rows.setdefault(line["step"], []).append((line["part"], line["example"], line["truth"]))
    assert list(rows) == list(range(10, 101, 10))
    assert all(sorted(r) == sorted(rows[10]) for r in rows.values())
    assert [part for part, *_ in rows[10]] == ["train"] * 4 + ["heldout"] * 4
    assert {line["error"] for line in lines if not line["match"]} == {"value"}
    assert len({line["prediction"] for line in lines}) > 1


def test_no_examples_unless_asked_for(tmp_path):
    train(tmp_path, "last+best")
    assert not (tmp_path / "examples").exists()


def test_a_line_cut_short_by_a_crash_is_removed(tmp_path):
    train(tmp_path, until=50, examples=2)
    file = tmp_path / "examples" / f"{ID}.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    train(tmp_path, examples=2)
    train(tmp_path / "undisturbed", examples=2)
    assert examples(tmp_path) == examples(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("interval", "eval_interval", "steps"),
    [(60, 20, [60, 120, 180]), (250, 100, [200, 400]), (100, 100, [100, 200]), (30, 100, [100, 200])],
)
def test_checkpoints_are_written_at_measurements_at_most_an_interval_apart(interval, eval_interval, steps):
    measured = range(eval_interval, steps[-1] + eval_interval, eval_interval)
    assert [step for step in measured if is_checkpoint_step(step, interval, eval_interval)] == steps


def test_a_fresh_trial_is_not_looked_for(tmp_path, monkeypatch):
    train(tmp_path, until=50)
    assert trainer(tmp_path).start(assignment()) == 40
    monkeypatch.setattr(TrialCheckpoints, "latest", lambda self: pytest.fail("an object store was asked for nothing"))
    assert trainer(tmp_path).start(assignment(fresh=True)) == 0
