"""The engines of a sweep: starting them, counting their slots, replacing those that died."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import RayError

from grokray.errors import ExecutionError
from grokray.sweep.cluster import ENVIRONMENT
from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.messages import WorkerOptions
from grokray.sweep.placement import EngineSpec

MAX_CALLS = 20_000  # calls that wait at the same time in one engine: two per slot, so never the limit
MAX_DEAD_STARTS = 5
# Of a GPU, what the engine for lonely trials takes; the others leave it, or it would wait for ever.
LONELY_GPU = 0.01


class EnginePool:
    """`saving` says that whoever is stopped now must be checkpointed: the sweep is being interrupted. `to_run()` counts
    the trials that have not ended: towards the end nobody stands in line where another engine may have seats.
    `environment` is what Ray's processes do not have yet."""

    def __init__(
        self,
        spec: EngineSpec,
        options: WorkerOptions,
        *,
        environment: Mapping[str, str] = ENVIRONMENT,
        to_run: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.spec, self.saving, self._to_run = spec, False, to_run
        self._environment = dict(environment)
        self._options = asdict(options)
        self._started = 0
        self._dead_starts = 0
        self._engines: list[_Engine | None] = [None] * spec.count
        self._lonely: _Engine | None = None

    def has_free_slot(self) -> bool:
        return any(engine is None or engine.used < self._places() for engine in self._engines)

    def start(self) -> None:
        """Start the engines that do not run: at once, for they take seconds to get up."""
        for i, engine in enumerate(self._engines):
            if engine is None:
                self._engines[i] = self._start(num_cpus=self.spec.num_cpus, gpu=1 - LONELY_GPU)

    def take(self) -> EngineSlot:
        """A place in the sound engine with the fewest tenants."""
        self._replace_dead()
        self.start()
        index = min(range(self.spec.count), key=lambda i: (self._used(i), i))
        engine = self._engines[index]
        assert engine is not None
        engine.used += 1
        return EngineSlot(self, engine)

    def give_back(self, slot: EngineSlot) -> None:
        slot.engine.used -= 1

    def lonely(self) -> Any:
        """The engine for trials that may have killed others: they are retried apart from the rest."""
        if self._lonely is None or self._lonely.dead():
            self._lonely = self._start(num_cpus=0.0, gpu=LONELY_GPU)
        return self._lonely.actor

    @cached_property
    def nothing(self) -> Any:
        """An answer without content, the same for all who ask."""
        return ray.put({})

    def save_all(self, timeout_s: float = 60.0) -> None:
        """Checkpoint every trial on every engine that answers."""
        engines = [e for e in (*self._engines, self._lonely) if e is not None and e.up() and not e.dead()]
        calls = [engine.actor.save_all.remote() for engine in engines]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=timeout_s)

    def process_ids(self) -> list[int]:
        """Of the engines that run."""
        engines = [e for e in self._engines if e is not None and not e.dead()]
        return ray.get([engine.actor.process_id.remote() for engine in engines])

    def close(self) -> None:
        for engine in (*self._engines, self._lonely):
            if engine is not None:
                ray.kill(engine.actor)

    def _places(self) -> int:
        """Of one engine: its seats, and the line before them while there are trials enough to come."""
        seats = self.spec.count * self.spec.slots
        started = sum(engine.used for engine in self._engines if engine is not None)
        return self.spec.slots + (self.spec.line if self._to_run() - started > seats else 0)

    def _used(self, index: int) -> int:
        engine = self._engines[index]
        return 0 if engine is None else engine.used

    def _replace_dead(self) -> None:
        for i, engine in enumerate(self._engines):
            if engine is None:
                continue
            if engine.dead():
                self._count_death(engine)
                self._engines[i] = None
            elif engine.up():
                self._dead_starts = 0

    def _count_death(self, engine: _Engine) -> None:
        self._dead_starts = 0 if engine.up() else self._dead_starts + 1
        if self._dead_starts >= MAX_DEAD_STARTS:
            raise ExecutionError(
                f"{self._dead_starts} engines in a row died before they were up",
                hint="Their output is in Ray's session folder, logs/worker-*.err.",
            )

    def _start(self, *, num_cpus: float, gpu: float) -> _Engine:
        role = f"engine-{self._started}"
        self._started += 1
        actor_class = ray.remote(EngineActor).options(
            num_cpus=num_cpus,
            num_gpus=gpu if self.spec.gpu else 0.0,
            max_restarts=0,
            max_concurrency=MAX_CALLS,
            **({"runtime_env": {"env_vars": self._environment}} if self._environment else {}),
        )
        return _Engine(actor_class.remote(self._options, role, self.spec.slots))


@dataclass(frozen=True)
class EngineSlot:
    """One trial's place in an engine of the pool."""

    pool: EnginePool
    engine: _Engine

    def engine_for(self, config: dict[str, Any]) -> Any:
        """The actor that shall train the trial."""
        return self.pool.lonely() if "alone" in config else self.engine.actor


class _Engine:
    def __init__(self, actor: Any) -> None:
        self.actor, self.used = actor, 0
        self._ready = actor.process_id.remote()
        self._death = actor.until_death.remote()

    def dead(self) -> bool:
        """Whether its process is gone: the call that never answers has failed. Costs no round trip."""
        ready, _ = ray.wait([self._death], timeout=0)
        return bool(ready)

    def up(self) -> bool:
        """Whether it ever answered."""
        ready, _ = ray.wait([self._ready], timeout=0)
        if not ready:
            return False
        try:
            ray.get(self._ready)
        except RayError:
            return False
        return True
