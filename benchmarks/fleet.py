"""Engines that train nothing: one Ray actor that answers for thousands of them, and a pool of such engines.

What is real: Tune, Ray's calls, the pool, the ledger, the scheduler, the journal and its reader. What is not: the
training, whose place a wait of random length takes, and the metrics, which are drawn at random.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import asdict, dataclass
from typing import Any

import ray

from grokray.records.journal import JournalWriter
from grokray.records.store import Store
from grokray.sweep.assignment import Assignment, Report
from grokray.sweep.engine_handle import EngineHandle
from grokray.sweep.engines import EnginePool
from grokray.sweep.introduction import Introduction
from grokray.sweep.messages import Whereabouts, as_result, assignment_of

CALLS = 400_000  # that wait in the fleet at the same time: two a seat, one an engine
PARTS = 64  # of the journal; each engine writes to one of them


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a fake trial does between two reports: it waits `hold_s` seconds on average, and writes `measurements`."""

    hold_s: float = 1.0
    measurements: int = 10


class Fleet:
    """A Ray actor. Every engine has a number; seats are known by engine and number."""

    def __init__(self, store_uri: str, pace: Pace) -> None:
        store = Store.from_uri(store_uri)
        self._pace = pace
        self._parts = [JournalWriter(store, f"engine-{number}") for number in range(PARTS)]
        self._seated: dict[tuple[int, int], tuple[Assignment, list[int]]] = {}

    async def introduce(self, engine: int, slots: int) -> dict[str, Any]:
        return asdict(Introduction(seats=slots))

    async def alive(self, engine: int) -> Whereabouts:
        return Whereabouts(node=ray.get_runtime_context().get_node_id(), host="fleet", pid=os.getpid())

    async def until_death(self, engine: int) -> None:
        await asyncio.Event().wait()

    async def create(self, engine: int, seat: int, config: dict[str, Any]) -> bool:
        a = assignment_of(config)
        rungs = [rung for rung in a.rungs if a.decided < rung < a.config["num_steps"]]
        self._seated[engine, seat] = (a, [*rungs, a.config["num_steps"]])
        self._write(engine, [{"event": "start", "trial_id": a.trial_id, "attempt": a.attempt, "step": 0}])
        return True

    async def call(self, engine: int, seat: int, method: str, save: bool = False) -> Any:
        if method == "stop":
            self._seated.pop((engine, seat), None)
            return True
        a, steps = self._seated[engine, seat]
        await asyncio.sleep(self._pace.hold_s * random.uniform(0.5, 1.5))
        step = steps.pop(0)
        last = not steps
        measured = [self._measurement(a, step - i) for i in reversed(range(self._pace.measurements))]
        if last:
            measured.append(
                {"event": "finish", "trial_id": a.trial_id, "attempt": a.attempt, "step": step, "outcome": "budget"}
            )
        self._write(engine, measured)
        return as_result(
            Report(
                trial_id=a.trial_id,
                step=step,
                metrics=measured[self._pace.measurements - 1]["metrics"],
                events={name: None for name in ("memorization_step", "grok_step")},
                wall_time_s=1.0,
                rung=None if last else step,
                outcome="budget" if last else None,
            )
        )

    async def save_all(self, engine: int) -> int:
        return 0

    def _measurement(self, a: Assignment, step: int) -> dict[str, Any]:
        names = [f"{part}_{metric}" for part in ("train", "heldout") for metric in ("loss", "exact_match")]
        metrics = {name: random.random() for name in names}
        return {
            "event": "measurement",
            "trial_id": a.trial_id,
            "attempt": a.attempt,
            "step": step,
            "metrics": metrics,
            "events": {},
            "wall_time_s": 1.0,
        }

    def _write(self, engine: int, events: list[dict[str, Any]]) -> None:
        self._parts[engine % PARTS].write_many(events)


class FakeEngine:
    """Stands where an engine's actor handle does: its methods are the fleet's, with the engine's number."""

    def __init__(self, fleet: Any, number: int, slots: int) -> None:
        self._fleet, self._number, self._slots = fleet, number, slots

    def __getattr__(self, method: str) -> _FakeMethod:
        return _FakeMethod(getattr(self._fleet, method), self._number, self._slots if method == "introduce" else None)


class _FakeMethod:
    def __init__(self, method: Any, number: int, slots: int | None) -> None:
        self._method, self._given = method, (number,) if slots is None else (number, slots)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        return self._method.remote(*self._given, *args, **kwargs)


class _FakeHandle(EngineHandle):
    def close(self) -> None:
        """The fleet has other engines."""


class FleetPool(EnginePool):
    """A pool whose engines are the fleet's. `pace` is set before a sweep begins."""

    pace = Pace()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        actor = ray.remote(Fleet).options(num_cpus=0, max_concurrency=CALLS)
        self._fleet = actor.remote(self._options["store_uri"], self.pace)

    def _start(self, *, alone: bool) -> EngineHandle:
        number, self._started = self._started, self._started + 1
        engine = FakeEngine(self._fleet, number, self.spec.slots)
        return _FakeHandle(engine, number=number, slots=self.spec.slots)

    def close(self) -> None:
        ray.kill(self._fleet)
