"""The Ray actor that holds an engine: one per GPU, or per core of a machine without.

Tune's trials are tenants here: they have a seat, or wait in line for one. Calls on them arrive through `call`; those
wait in an asyncio loop while the engine trains in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

from grokray.errors import FolderError
from grokray.sweep.assignment import Report
from grokray.sweep.introduction import Introduction, introduced
from grokray.sweep.messages import Cleared, Whereabouts, WorkerOptions, as_result, assignment_of, failed_result
from grokray.wording import in_a_line

LAST_WORDS_S = 1.0  # for the driver to hear why the engine dies
WORDS = 300  # characters of it


class EngineActor:
    """Made a Ray actor by the pool. `seat` numbers are the executor's, unique per start of a trial. On a cluster it
    offers as many of `seats` as fit in its memory, going by the configs of `sample`, and none without the folder."""

    def __init__(self, options: dict[str, Any], role: str, seats: int, sample: tuple[dict[str, Any], ...] = ()) -> None:
        # Here, and with it torch: the driver, which only names this class, does without.
        from grokray.sweep.engine_loop import EngineLoop
        from grokray.sweep.line import Line

        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        worker = WorkerOptions(**options)
        self._said = Introduction(seats=seats)
        if sample:
            self._said = introduced(seats, worker.store_uri)
        if sample and not self._said.fault:
            from grokray.records.store import Store
            from grokray.sweep.seats import seats_that_fit

            seats = seats_that_fit(seats, sample, worker.device, Store.from_uri(worker.store_uri))
            self._said = replace(self._said, seats=seats)
        self._tenants: dict[int, _Tenant] = {}
        self._by_trial: dict[str, _Tenant] = {}
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._turnstile = asyncio.Semaphore(1)  # for those that must be alone
        self._last_words: Future[str] = Future()
        if self._said.fault:
            return  # it keeps its place, so that no other engine starts there
        self._loop = EngineLoop(
            lambda: Line(worker.make_trainer(role, seats), seats=seats, failed=self._deliver_to),
            lambda report: self._deliver_to(report.trial_id, report),
            self._die,
        )

    async def introduce(self) -> dict[str, Any]:
        """An Introduction's fields; answers once the engine is up."""
        if not self._said.fault:
            await asyncio.wrap_future(self._loop.submit(lambda line: None))
        return asdict(self._said)

    async def alive(self) -> Whereabouts:
        """Answers whatever the engine does; nothing is heard where its process was stopped, or hangs."""
        here = Whereabouts.of_this_process()
        return here if self._said.fault else replace(here, still_s=self._loop.still_s(), place=self._loop.place())

    async def until_death(self) -> str:
        """Answers when the engine is about to die, and says why. Where it cannot, the call fails when the process
        ends. Either is how the driver notices without asking."""
        return await asyncio.wrap_future(self._last_words)

    async def create(self, seat: int, config: dict[str, Any]) -> bool:
        """Take a trial in; one that must be alone waits until nobody else of its kind is here."""
        if self._said.fault:
            raise FolderError(self._said.fault)
        self._asyncio = asyncio.get_running_loop()
        tenant = _Tenant(config)
        if tenant.alone:
            await self._turnstile.acquire()
        self._tenants[seat] = tenant
        if not tenant.given_up:
            self._by_trial[tenant.trial_id] = tenant
            await asyncio.wrap_future(self._loop.submit(lambda line: line.start(tenant.assignment)))
        return True

    async def call(self, seat: int, method: str, save: bool = False) -> Any:
        """What Tune calls on a trial. It has nothing to save there: checkpoints are the trainer's."""
        if method == "train":
            return await self._train(self._tenants[seat])
        if method == "stop":
            return await self._stop(seat, save)
        raise AttributeError(f"a seat has no {method}")

    async def save_all(self) -> int:
        """Checkpoint every trial where it is; how many."""
        return await asyncio.wrap_future(self._loop.submit(lambda line: line.save_all()))

    async def _train(self, tenant: _Tenant) -> dict[str, Any]:
        """Let the trial train on, and wait for what it next reports."""
        if tenant.given_up:
            return failed_result(tenant.trial_id)
        if tenant.cleared:
            await self._let_go(tenant)
        if tenant.waits:
            tenant.waits = False
            await asyncio.wrap_future(self._loop.submit(lambda line: line.proceed(tenant.trial_id)))
        report = await tenant.reports.get()
        if isinstance(report, Exception):
            raise report
        tenant.waits = report.rung is not None
        tenant.cleared = tenant.alone and report.outcome is None and report.step >= tenant.alone_until
        if tenant.cleared and report.rung == tenant.alone_until and not tenant.asks_there:
            await self._let_go(tenant)
        return as_result(report)

    async def _let_go(self, tenant: _Tenant) -> None:
        """It may have company again: raises `Cleared`, upon which the driver starts it elsewhere."""
        await asyncio.wrap_future(self._loop.submit(lambda line: line.stop(tenant.trial_id, save=True)))
        raise Cleared(f"trained alone to step {tenant.alone_until}")

    async def _stop(self, seat: int, save: bool) -> bool:
        tenant = self._forget(seat)
        if tenant is not None and not tenant.given_up:
            deleted = await asyncio.wrap_future(self._loop.submit(lambda line: line.stop(tenant.trial_id, save=save)))
            if deleted is not None:  # else the engine might be closed before it is done
                await asyncio.wrap_future(deleted)
        return True

    def _forget(self, seat: int) -> _Tenant | None:
        tenant = self._tenants.pop(seat, None)
        if tenant is not None and self._by_trial.get(tenant.trial_id) is tenant:
            del self._by_trial[tenant.trial_id]
        if tenant is not None and tenant.alone:
            self._turnstile.release()
        return tenant

    def _deliver_to(self, trial_id: str, report: Report | Exception) -> None:
        """From the engine's thread: nothing is ever dropped, a queue holds at most one report."""
        tenant = self._by_trial.get(trial_id)
        if tenant is not None and self._asyncio is not None:
            self._asyncio.call_soon_threadsafe(tenant.reports.put_nowait, report)

    def _die(self, error: BaseException) -> None:
        """Training itself failed: end the process, so that every tenant is retried on a sound engine."""
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
        self._last_words.set_result(in_a_line(error)[:WORDS])
        time.sleep(LAST_WORDS_S)
        os._exit(1)


class _Tenant:
    """One that is alone waits at step `alone_until`, as at a rung, and `asks_there` if that is a rung of its own."""

    def __init__(self, config: dict[str, Any]) -> None:
        assignment = assignment_of(config)
        self.trial_id = assignment.trial_id
        self.given_up, self.alone = "given_up" in config, "alone" in config
        self.alone_until = int(config.get("alone", 0))
        self.asks_there = self.alone_until in assignment.rungs
        if self.alone:
            assignment = replace(assignment, rungs=(*assignment.rungs, self.alone_until))
        self.assignment = assignment
        self.waits = False  # at a rung
        self.cleared = False  # may have company again
        self.reports: asyncio.Queue[Report | Exception] = asyncio.Queue()
