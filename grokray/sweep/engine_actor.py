"""The Ray actor that holds an engine: one per GPU, or per core of a machine without.

Tune's trials live here as light objects (`SeatedTrial`). Calls on them arrive through `call`; they wait in an asyncio
loop while the engine trains in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from typing import Any

from grokray.sweep.engine_loop import EngineLoop
from grokray.sweep.trainable import SeatedTrial, WorkerOptions
from grokray.sweep.trainer import Report


class EngineActor:
    """Made a Ray actor by the executor. `seat` numbers are the executor's, unique per start of a trial."""

    def __init__(self, options: dict[str, Any], role: str) -> None:
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        worker = WorkerOptions(**options)
        self._tenants: dict[int, _Tenant] = {}
        self._by_trial: dict[str, _Tenant] = {}
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._turnstile = asyncio.Semaphore(1)  # for those that must be alone
        self._loop = EngineLoop(lambda: worker.make_trainer(role), self._deliver, _die)

    async def process_id(self) -> int:
        """Answers once the actor is up."""
        return os.getpid()

    async def until_death(self) -> None:
        """Never answers: the call fails when the actor dies, which is how the driver notices without asking."""
        await asyncio.Event().wait()

    async def create(self, seat: int, kwargs: dict[str, Any]) -> bool:
        """Seat a trial; one that must be alone waits until nobody else of its kind is here."""
        self._asyncio = asyncio.get_running_loop()
        trial = SeatedTrial(**kwargs)
        tenant = _Tenant(trial, given_up="given_up" in kwargs["config"], alone="alone" in kwargs["config"])
        if tenant.alone:
            await self._turnstile.acquire()
        self._tenants[seat] = tenant
        if not tenant.given_up:
            self._by_trial[tenant.trial_id] = tenant
            try:
                await asyncio.wrap_future(self._loop.submit(lambda t: t.start(trial.assignment)))
            except BaseException:
                self._forget(seat)
                raise
        return True

    async def call(self, seat: int, method: str, *args: Any, save: bool = False) -> Any:
        if method == "stop":
            return await self._stop(seat, save)
        tenant = self._tenants[seat]
        if method == "train":
            return await self._train(tenant)
        return getattr(tenant.trial, method)(*args)

    async def save_all(self) -> int:
        """Checkpoint every trial where it is; how many."""
        return await asyncio.wrap_future(self._loop.submit(lambda t: t.save_all()))

    async def _train(self, tenant: _Tenant) -> dict[str, Any]:
        """Let the trial train on, and wait for what it next reports."""
        if not tenant.given_up:
            if tenant.waits:
                tenant.waits = False
                await asyncio.wrap_future(self._loop.submit(lambda t: t.proceed(tenant.trial_id)))
            tenant.trial.pending = await tenant.reports.get()
            tenant.waits = tenant.trial.pending.rung is not None
        return tenant.trial.train()

    async def _stop(self, seat: int, save: bool) -> bool:
        tenant = self._forget(seat)
        if tenant is not None and not tenant.given_up:
            await asyncio.wrap_future(self._loop.submit(lambda t: t.stop(tenant.trial_id, save=save)))
        return True

    def _forget(self, seat: int) -> _Tenant | None:
        tenant = self._tenants.pop(seat, None)
        if tenant is not None and self._by_trial.get(tenant.trial_id) is tenant:
            del self._by_trial[tenant.trial_id]
        if tenant is not None and tenant.alone:
            self._turnstile.release()
        return tenant

    def _deliver(self, report: Report) -> None:
        """From the engine's thread: nothing is ever dropped, a queue holds at most one report."""
        tenant = self._by_trial.get(report.trial_id)
        if tenant is not None and self._asyncio is not None:
            self._asyncio.call_soon_threadsafe(tenant.reports.put_nowait, report)


class _Tenant:
    def __init__(self, trial: SeatedTrial, *, given_up: bool, alone: bool) -> None:
        self.trial, self.given_up, self.alone, self.waits = trial, given_up, alone, False
        self.trial_id = trial.assignment.trial_id
        self.reports: asyncio.Queue[Report] = asyncio.Queue()


def _die(error: BaseException) -> None:
    """Training itself failed: end the process, so that every tenant is retried on a sound engine."""
    traceback.print_exception(error, file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
