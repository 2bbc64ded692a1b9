"""What is written beside the training, and what of it is waited for."""

from __future__ import annotations

import threading
import time

import pytest

from grokray.engine.checkpoint import Checkpoint
from grokray.errors import FolderError
from grokray.records.store import Store
from grokray.sweep import trainer as of_trainer
from grokray.sweep.assignment import Assignment
from grokray.sweep.background import Background
from grokray.sweep.checkpoints import TrialCheckpoints
from grokray.sweep.trainer import WRITERS, Trainer
from tests.engine.conftest import small

WAIT_S = 10.0


@pytest.fixture
def gate():
    """Jobs that call `wait` go on when it is set."""
    event = threading.Event()
    yield event
    event.set()


def test_without_threads_a_job_is_done_at_once_and_raises_at_once():
    done, background = [], Background(0)
    background.do("a", lambda: done.append(threading.current_thread()))
    assert done == [threading.main_thread()]
    with pytest.raises(ZeroDivisionError):
        background.do("a", lambda: 1 / 0)


def test_jobs_of_a_trial_are_done_in_their_order_and_those_of_others_beside_them(gate):
    done, background = [], Background(2)
    background.do("a", lambda: (gate.wait(WAIT_S), done.append("a 1")))
    background.do("b", lambda: done.append("b 1"))
    background.finish(["b", "unknown"])
    assert done == ["b 1"]
    background.do("a", lambda: done.append("a 2"))
    gate.set()
    background.finish()
    assert done == ["b 1", "a 1", "a 2"]


@pytest.mark.parametrize("call", ["look", "finish", "close"])
def test_what_a_job_raises_comes_out_of_a_later_call(call):
    background = Background(1)
    background.do("a", lambda: 1 / 0)
    background.do("b", lambda: None)
    while any(not job.done() for job in background._jobs.values()):
        time.sleep(0.01)
    with pytest.raises(ZeroDivisionError):
        getattr(background, call)()


def test_what_follows_a_job_that_failed_is_not_done():
    done, background = [], Background(1)
    background.do("a", lambda: 1 / 0)
    background.do("a", lambda: done.append("after"))
    with pytest.raises(ZeroDivisionError):
        background.finish()
    assert done == []


def test_whoever_is_faster_than_the_writers_waits_for_them(gate):
    background = Background(1, most_bytes=10)
    for name in "ab":
        background.do(name, lambda: gate.wait(WAIT_S), 5)
    background.do("small", lambda: None)
    handed_in = threading.Event()
    late = threading.Thread(target=lambda: (background.do("late", lambda: None, 1), handed_in.set()))
    late.start()
    assert not handed_in.wait(0.2)
    gate.set()
    assert handed_in.wait(WAIT_S)
    late.join()
    background.finish()


def test_a_job_that_holds_more_than_all_may_is_done_alone(gate):
    background, done = Background(2, most_bytes=10), []
    background.do("large", lambda: done.append("large"), 100)
    background.do("next", lambda: done.append("next"), 100)
    background.finish()
    assert done == ["large", "next"]


# -- a trainer


def assigned(seed: int, **options) -> Assignment:
    config = small(seed=seed, num_steps=60, eval_interval=10)
    return Assignment(trial_id=config.id, config=config.model_dump(), checkpoint_interval=20, **options)


@pytest.fixture
def slow(monkeypatch, gate):
    """Checkpoints of later than step 0 are on disk when the gate is open. The names of the threads that write."""
    write, threads = TrialCheckpoints.write, []

    def slowly(self, checkpoint: Checkpoint, kind="step"):
        threads.append(threading.current_thread().name)
        assert gate.wait(WAIT_S)
        return write(self, checkpoint, kind)

    monkeypatch.setattr(TrialCheckpoints, "write", slowly)
    return threads


def steps(store: Store, trial_id: str) -> list[int]:
    return [file.step for file in TrialCheckpoints(store, trial_id, "none").files()]


def test_trials_train_on_while_their_checkpoints_are_written(tmp_path, gate, slow):
    store = Store.from_uri(tmp_path)
    trainer = Trainer(store, role="test", compile="off", writers=2)
    those = [assigned(seed) for seed in range(3)]
    for one in those:
        trainer.start(one)
    for _ in range(5):
        trainer.turn()
    assert [seat.step for stack in trainer.engine._stacks.values() for seat in stack.seats] == [50] * 3
    assert [steps(store, one.trial_id) for one in those] == [[]] * 3
    gate.set()
    assert trainer.save_all() == 3
    assert [steps(store, one.trial_id) for one in those] == [[50]] * 3
    assert all(name.startswith("writer") for name in slow)
    trainer.close()


def test_what_somebody_may_act_on_is_on_disk(tmp_path, gate, slow):
    """A trial that waits at a rung, and one that is taken away."""
    store = Store.from_uri(tmp_path)
    trainer = Trainer(store, role="test", compile="off", writers=2)
    ruled, free = assigned(0, rungs=(20,)), assigned(1)
    for one in (ruled, free):
        trainer.start(one)
    trainer.turn()
    threading.Timer(0.2, gate.set).start()
    (report,) = trainer.turn()
    assert (report.trial_id, report.rung) == (ruled.trial_id, 20)
    assert steps(store, ruled.trial_id) == [20]
    gate.clear()
    trainer.turn()
    threading.Timer(0.2, gate.set).start()
    trainer.stop(free.trial_id, save=True)
    assert steps(store, free.trial_id) == [30]
    trainer.close()


def test_a_checkpoint_that_cannot_be_written_ends_the_training(tmp_path, monkeypatch):
    def full(*args):
        raise FolderError("the disk is full")

    monkeypatch.setattr(TrialCheckpoints, "write", full)
    trainer = Trainer(Store.from_uri(tmp_path), role="test", compile="off", writers=1)
    trainer.start(assigned(0))
    with pytest.raises(FolderError, match="full"):
        [trainer.turn() for _ in range(6)]


def test_training_waits_for_nothing_but_a_disk_of_this_machine_and_only_on_a_cpu(tmp_path, monkeypatch):
    threads = []
    monkeypatch.setattr(of_trainer, "Background", lambda number: threads.append(number))
    for is_local, device in ((True, "cpu"), (False, "cpu"), (True, "cuda")):
        store = Store.from_uri(tmp_path)
        monkeypatch.setattr(store, "is_local", is_local)
        Trainer(store, role="test", device=device)
    assert threads == [0, WRITERS, WRITERS]
