"""Who trains and who waits: the line before an engine's seats, and the places that the pool gives away in it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from grokray.errors import FolderError
from grokray.records.folder import SweepFolder
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.introduction import Introduction
from grokray.sweep.line import Line
from grokray.sweep.messages import Cleared, tune_config
from grokray.sweep.trainer import Trainer
from tests.engine.conftest import small
from tests.sweep.sweeps import GRID


class FakeTrainer:
    """Trains without end; `turn` reports what is put into `next_reports`, as an engine would."""

    def __init__(self) -> None:
        self.seated: list[str] = []
        self.parked: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.next_reports: list[Report] = []

    @property
    def training(self) -> int:
        return len(self.seated) - len(self.parked)

    def start(self, assignment: Assignment) -> None:
        self.log.append(("start", assignment.trial_id))
        if assignment.config.get("broken"):
            raise ValueError("cannot be seated")
        self.seated.append(assignment.trial_id)

    def proceed(self, trial_id: str) -> None:
        self.log.append(("proceed", trial_id))
        self.parked.remove(trial_id)

    def stop(self, trial_id: str, *, save: bool) -> None:
        if trial_id in self.seated:
            self.log.append(("saved" if save else "stop", trial_id))
            self.seated.remove(trial_id)
            self.parked.discard(trial_id)

    def turn(self, should_yield) -> list[Report]:
        reports, self.next_reports = self.next_reports, []
        for report in reports:
            if report.outcome:
                self.seated.remove(report.trial_id)
            else:
                self.parked.add(report.trial_id)
        return reports


def report(trial_id: str, *, rung: int | None = None) -> Report:
    outcome = None if rung else "budget"
    return Report(trial_id=trial_id, step=1, metrics={}, events={}, wall_time_s=0.0, rung=rung, outcome=outcome)


@pytest.fixture
def trainer() -> FakeTrainer:
    return FakeTrainer()


@pytest.fixture
def line(trainer) -> Line:
    return make_line(trainer, [])


def make_line(trainer: Any, failures: list[tuple[str, Exception]], *, seats: int = 2) -> Line:
    return Line(trainer, seats=seats, failed=lambda trial_id, error: failures.append((trial_id, error)))


def come(line: Line, *trial_ids: str, **config: Any) -> None:
    for trial_id in trial_ids:
        line.start(Assignment(trial_id=trial_id, config=config))


def turn(line: Line, trainer: FakeTrainer, *reports: Report) -> None:
    trainer.next_reports = list(reports)
    assert line.turn(lambda: False) == list(reports)


def test_who_comes_first_sits_first_and_a_freed_seat_is_taken_within_the_turn(line, trainer):
    come(line, "a", "b", "c", "d", "e")
    assert (trainer.seated, line.waiting) == (["a", "b"], 3)
    turn(line, trainer, report("b"))
    assert (trainer.seated, line.waiting) == (["a", "c"], 2)
    turn(line, trainer, report("a"), report("c"))
    assert (trainer.seated, line.waiting) == (["d", "e"], 0)


def test_while_a_trial_waits_at_a_rung_another_trains_and_then_it_is_the_next(line, trainer):
    come(line, "a", "b", "c", "d")
    turn(line, trainer, report("a", rung=1))
    assert trainer.seated == ["a", "b", "c"]
    line.proceed("a")
    assert trainer.parked == {"a"}  # both seats are taken
    turn(line, trainer, report("b"))
    assert trainer.parked == set()
    assert "d" not in trainer.seated
    turn(line, trainer, report("a"))
    assert trainer.seated == ["c", "d"]


def test_a_trial_stopped_at_its_rung_makes_room_for_nobody_more_than_trains_already(line, trainer):
    come(line, "a", "b", "c", "d")
    turn(line, trainer, report("a", rung=1))
    line.stop("a", save=False)
    assert trainer.seated == ["b", "c"]
    line.stop("b", save=False)
    assert trainer.seated == ["c", "d"]


def test_who_is_stopped_in_line_never_begins_and_stopping_again_does_nothing(line, trainer):
    come(line, "a", "b", "c", "d")
    for _ in range(2):
        line.stop("c", save=True)
    line.stop("a", save=True)
    assert trainer.seated == ["b", "d"]
    assert ("start", "c") not in trainer.log
    turn(line, trainer, report("b", rung=1))
    come(line, "e")
    line.proceed("b")
    line.stop("b", save=False)
    turn(line, trainer, report("d"))
    assert ("proceed", "b") not in trainer.log


def test_who_cannot_be_seated_is_told_so_and_the_next_one_sits_down(trainer):
    failures: list[tuple[str, Exception]] = []
    line = make_line(trainer, failures)
    come(line, "a", "b")
    come(line, "c", broken=True)
    come(line, "d")
    assert failures == []
    turn(line, trainer, report("a"))
    assert [(t, str(error)) for t, error in failures] == [("c", "cannot be seated")]
    assert trainer.seated == ["b", "d"]


def run_through(tmp_path, seats: int) -> tuple[dict[str, list[tuple[int, float]]], int]:
    """Loss curves of five trials with rungs, decided at once, and the most that ever trained together."""
    curves: dict[str, list[tuple[int, float]]] = {}
    folder = SweepFolder.create_or_open(tmp_path / f"{seats}", GRID, {}, {"versions": {}, "command": "test"})
    trainer = Trainer(
        folder.store,
        role="test",
        compile="off",
        on_measurement=lambda m: curves.setdefault(m.trial, []).append((m.step, m.metrics["train_loss"])),
    )
    line = make_line(trainer, [], seats=seats)
    for seed in range(5):
        config = small(num_layers=1, num_steps=40, seed=seed)
        line.start(Assignment(trial_id=config.id, config=config.model_dump(), rungs=(20,)))
    most, ended = 0, 0
    while ended < 5:
        most = max(most, trainer.training)
        for found in line.turn(lambda: False):
            ended += found.outcome is not None
            if found.rung is not None:
                line.proceed(found.trial_id)
    trainer.close()
    return curves, most


def test_trials_of_a_line_are_the_same_as_trials_that_all_have_seats(tmp_path):
    in_line, two = run_through(tmp_path, 2)
    seated, five = run_through(tmp_path, 5)
    assert (two, five) == (2, 5)
    assert in_line == seated


def test_a_folder_that_cannot_be_used_is_what_the_next_turn_says(trainer):
    failed = []
    line = make_line(trainer, failed, seats=2)

    def refuse(assignment):
        raise FolderError("cannot write x: access is denied")

    trainer.start = refuse
    line.start(Assignment(trial_id="a", config={}))
    trainer.busy = False
    assert line.busy
    with pytest.raises(FolderError, match="access is denied"):
        line.turn(lambda: False)
    assert failed == []


# -- the actor's calls


@pytest.fixture
def actor(trainer) -> EngineActor:
    """An actor whose engine's thread is the caller's."""
    actor = EngineActor.__new__(EngineActor)
    line = Line(trainer, seats=1, failed=actor._deliver_to)

    def submit(command) -> Future:
        future: Future = Future()
        future.set_result(command(line))
        return future

    actor._tenants, actor._by_trial, actor._asyncio = {}, {}, None
    actor._said = Introduction(seats=1)
    actor._turnstile, actor._loop = asyncio.Semaphore(1), SimpleNamespace(submit=submit)  # type: ignore[assignment]
    return actor


def test_an_error_of_seating_reaches_the_call_that_waits_for_the_trial(actor):
    broken = tune_config(Assignment(trial_id="b", config={"broken": True}))

    async def calls() -> None:
        await actor.create(0, tune_config(Assignment(trial_id="a", config={})))
        await actor.create(1, broken)
        waiting = asyncio.ensure_future(actor.call(1, "train"))
        await asyncio.sleep(0)
        assert not waiting.done()
        await actor.call(0, "stop")
        with pytest.raises(ValueError, match="cannot be seated"):
            await waiting
        await actor.call(1, "stop")
        assert not actor._tenants
        with pytest.raises(AttributeError, match="a seat has no save"):
            await actor.call(1, "save")

    asyncio.run(calls())


@pytest.mark.parametrize(
    ("rungs", "reported", "asked_first"),
    [((), 300, False), ((200, 500), 300, False), ((300,), 300, True), ((200,), 200, True)],
)
def test_a_suspect_that_came_far_alone_leaves_with_a_checkpoint_after_the_decision_that_is_due(
    rungs, reported, asked_first, actor, trainer
):
    """Measured every 150 steps: a rung at 200 is reached at 300 too."""
    suspect = tune_config(Assignment(trial_id="a", config={}, rungs=rungs), alone_until=300)

    async def calls() -> None:
        await actor.create(0, suspect)
        assert {*actor._tenants[0].assignment.rungs} == {*rungs, 300}
        waiting = asyncio.ensure_future(actor.call(0, "train"))
        await asyncio.sleep(0)
        actor._deliver_to("a", replace(report("a", rung=reported), step=300))
        trainer.parked.add("a")
        if asked_first:
            assert (await waiting)["rung"] == reported
            waiting = actor.call(0, "train")
        with pytest.raises(Cleared):
            await waiting
        assert trainer.log[-1] == ("saved", "a")
        await actor.call(0, "stop")
        assert not actor._turnstile.locked()

    asyncio.run(calls())


def test_a_suspect_that_ends_has_ended(actor):
    async def calls() -> None:
        await actor.create(0, tune_config(Assignment(trial_id="a", config={}), alone_until=300))
        actor._deliver_to("a", replace(report("a"), step=900))
        await asyncio.sleep(0)
        assert (await actor.call(0, "train"))["done"]

    asyncio.run(calls())
