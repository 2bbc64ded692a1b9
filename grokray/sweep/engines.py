"""The engines of a sweep: starting them, counting their slots, replacing those that died.

On one machine all engines come up, and trials are sent to them at once. On a cluster an engine is a request to Ray,
which makes an autoscaler add nodes: trials are sent to it when it is up, and it is closed when no trial needs it any
more, so that its node falls idle and is given back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import ray

from grokray.errors import FolderError
from grokray.sweep.dead_starts import DeadStarts
from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.engine_handle import EngineHandle, look_at
from grokray.sweep.introduction import Introduction, here, remarks
from grokray.sweep.messages import Say, WorkerOptions
from grokray.sweep.placement import EngineSpec
from grokray.sweep.pulse import ASK_EACH_S, ASK_S, Pulse, change, what_then
from grokray.sweep.ray_start import ENVIRONMENT

MAX_CALLS = 20_000  # calls that wait at the same time in one engine: two per slot, so never the limit
NODES_HINT = "grokray doctor --address … --out … says what each node lacks; a role, credentials, or a mounted folder"
# Of a GPU, and on a cluster of a core, what the engine takes where trials are alone; the others leave it, or it would
# wait for ever.
ALONE = 0.01
BOOT_S = 300.0  # so long a node may take to come: who would stand in line waits for its seats instead
KEPT_S = 60.0  # so long the engine for trials alone is kept for the next of them
# Of a cluster: so long an engine whose node cannot use the folder keeps it to itself, until another is tried there, and
# so long all that are up may be such.
BARRED_S, ALL_BARRED_S = 300.0, 60.0
LOOK_S, LOOK_EACH_S = 0.1, 0.001  # between two looks at the engines, and more for each of them


class EnginePool:
    """`saving` says that whoever is stopped now must be checkpointed: the sweep is being interrupted. `to_run()` counts
    the trials that have not ended: towards the end nobody stands in line where another engine may have seats.
    `environment` is what Ray's processes do not have yet. By the trials' configs in `sample` an engine of a cluster
    finds out how many fit in its memory. `say` tells a person of its nodes, and of engines that do not answer."""

    def __init__(
        self,
        spec: EngineSpec,
        options: WorkerOptions,
        *,
        environment: Mapping[str, str] = ENVIRONMENT,
        to_run: Callable[[], float] = lambda: math.inf,
        sample: tuple[dict[str, Any], ...] = (),
        say: Say = lambda text, name="", state=None: None,
    ) -> None:
        self.spec, self.saving, self._to_run = spec, False, to_run
        self._environment, self._sample, self._say = dict(environment), sample, say
        self._options = asdict(options)
        self._started = 0
        self._dead_starts = DeadStarts(say)
        self._looked, self._asked = -math.inf, time.monotonic()
        self._engines: list[EngineHandle] = []
        self._free: list[EngineHandle] | None = None  # those with a place, until something changes
        self._alone: EngineHandle | None = None
        self._suspects: set[EngineSlot] = set()  # of those that are there now
        self._suspected = -math.inf  # when the last one left
        self._in_use = time.monotonic()  # when some engine was last seen to be up and able to work

    def has_free_slot(self) -> bool:
        self.tend()
        return bool(self._with_places)

    def start(self) -> None:
        """Start, or ask for, the engines that are needed and not there: at once, for they take seconds to get up."""
        if self._dead_starts.rests:
            return
        if not self.spec.elastic:
            missing = self.spec.count - len(self._engines)
        else:
            short = self._to_run() - self.seats
            missing = min(short / self.spec.slots, self.spec.count - len(self._engines))
        for _ in range(math.ceil(missing)):
            self._engines.append(self._start(alone=False))

    def tend(self) -> None:
        """Look who has come up and who has died, replace those, and close what is not needed; cheap if often called."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S + LOOK_EACH_S * len(self._engines) or not self._engines:
            self._ask(now)
            self.look()
            self._looked = time.monotonic()

    def look(self) -> None:
        """As `tend`, at once."""
        self._hear_new_ones()
        self._free = None
        for engine in [engine for engine in self._engines if engine.dead]:
            self._engines.remove(engine)
            self._count_death(engine)
            engine.close()  # where only the contact was lost, it must not go on beside the one that replaces it
        self._try_barred_again()
        self._close_idle()
        self._close_alone()
        self.start()

    def lose(self, engine: EngineHandle) -> None:
        """A call on an engine failed."""
        engine.lost()
        self._looked = -math.inf

    def take(self) -> EngineSlot:
        """A place in the engine that is the least full."""
        engine = min(self._with_places, key=lambda engine: engine.used / engine.slots)
        engine.used += 1
        self._free = None
        return EngineSlot(self, engine)

    def give_back(self, slot: EngineSlot) -> None:
        slot.engine.used -= 1
        self._free = None
        if slot in self._suspects:
            self._suspects.remove(slot)
            self._suspected = time.monotonic()

    def save_from_now_on(self) -> None:
        """Whoever is stopped from now on is interrupted, and not at its end."""
        self.saving = True

    def alone(self, slot: EngineSlot) -> EngineHandle:
        """The engine for trials that may have killed others: they are retried alone."""
        self._suspects.add(slot)
        if self._alone is not None:
            look_at([self._alone])
        if self._alone is not None and self._alone.dead:
            self._count_death(self._alone)
            self._alone = None
        elif self._alone is not None and self._alone.barred:
            self._alone.close()
            self._alone = None
        if self._alone is None:
            self._alone = self._start(alone=True)
        return self._alone

    def coming(self) -> list[Any]:
        """What Ray answers once an engine of a cluster comes up: a reference for each that has not."""
        return [engine.ready for engine in self._engines if not engine.up] if self.spec.elastic else []

    @property
    def seats(self) -> int:
        """Of all engines, those that are asked for included."""
        return sum(engine.slots for engine in self._engines)

    def processes_here(self) -> list[int]:
        """Of engines, by their ids. On a cluster they are elsewhere."""
        engines = [] if self.spec.elastic else self._all
        return [engine.pulse.where.pid for engine in engines if engine.pulse.where is not None and not engine.dead]

    @property
    def waits_for_nodes(self) -> bool:
        """Whether no engine has come up yet, on a cluster."""
        return self.spec.elastic and not any(engine.up for engine in self._engines)

    @cached_property
    def nothing(self) -> Any:
        """An answer without content, the same for all who ask."""
        return ray.put({})

    def save_all(self, timeout_s: float = 60.0) -> None:
        """Checkpoint every trial on every engine that answers."""
        engines = self._all
        look_at(engines)
        calls = [
            engine.actor.save_all.remote()
            for engine in engines
            if engine.up and not (engine.dead or engine.barred or engine.pulse.absent)
        ]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=timeout_s)

    def close(self) -> None:
        for engine in self._all:
            engine.close()

    def _ask(self, now: float) -> None:
        """See that engines answer, and end those that hang."""
        engines = self._all
        patience, elapsed = ASK_S + ASK_EACH_S * len(engines), now - self._asked
        if elapsed < patience:
            return
        self._asked = now
        for engine in engines:
            if not engine.dead and (engine.up or not self.spec.elastic):  # one of a cluster may wait for a node
                self._ask_one(engine, min(elapsed, 2 * patience))

    def _ask_one(self, engine: EngineHandle, elapsed: float) -> None:
        pulse = engine.pulse
        state = change(pulse, elapsed)
        if state == "ended":
            text = f"{engine.name} did not answer for {int(pulse.silent_s / 60)} min"
            engine.give_up(f"{text}, and was ended")
            self._say(f"{text}, and is ended: its trials go on from their last checkpoints", engine.name, state)
        elif state == "silent":
            self._say(f"{engine.name} {_silence(pulse)}", engine.name, state)
        elif state == "answers":
            self._say(f"{engine.name} goes on", engine.name, state)

    @property
    def _all(self) -> list[EngineHandle]:
        return [*self._engines, *([self._alone] if self._alone is not None else [])]

    @property
    def _with_places(self) -> list[EngineHandle]:
        if self._free is None:
            self._free = self._find_places()
        return self._free

    def _find_places(self) -> list[EngineHandle]:
        """The engines where one more trial may go: to a seat, or into line while there are trials enough to come."""
        started, seats = 0, 0
        for engine in self._engines:
            started += engine.used
            seats += engine.slots if self._counts(engine) or engine.age < BOOT_S else 0
        line = self.spec.line if self._to_run() - started > seats else 0
        return [engine for engine in self._engines if self._counts(engine) and engine.used < engine.slots + line]

    def _counts(self, engine: EngineHandle) -> bool:
        """Whether trials are sent to it. On a cluster one without a node might keep them for ever, as might one that
        hangs."""
        return (engine.up or not self.spec.elastic) and not (engine.barred or engine.pulse.absent)

    def _hear_new_ones(self) -> None:
        coming = [engine for engine in self._engines if not engine.up]
        look_at(self._engines)
        for engine in coming:
            if engine.said is not None and engine.said.node:  # of a cluster; this machine's needs no comparing
                for remark in remarks(engine.said, self._mine):
                    self._say(remark)

    @cached_property
    def _mine(self) -> Introduction:
        return here(seats=0)

    def _try_barred_again(self) -> None:
        """FolderError where for some time none could use the folder: it is no fault of single nodes."""
        barred = [engine for engine in self._engines if engine.barred]
        if not barred or any(engine.up and not engine.barred for engine in self._engines):
            self._in_use = time.monotonic()
        elif time.monotonic() - self._in_use > ALL_BARRED_S:
            raise FolderError(f"no node can use the folder: {barred[0].fault}", hint=NODES_HINT)
        for engine in barred:
            if engine.age > BARRED_S:
                self._engines.remove(engine)
                engine.close()

    def _close_idle(self) -> None:
        """Close engines without trials, those that have not come up first, as long as the others have enough seats."""
        if not self.spec.elastic:
            return
        seats, to_run = self.seats, self._to_run()
        for engine in sorted(self._engines, key=lambda engine: (engine.up, -engine.number)):
            if engine.used == 0 and not engine.barred and seats - engine.slots >= to_run:
                seats -= engine.slots
                self._engines.remove(engine)
                engine.close()

    def _close_alone(self) -> None:
        """No suspect is left: its memory, and on a cluster its node, are of use to others."""
        unused_s = time.monotonic() - self._suspected
        if self._alone is not None and not self._suspects and unused_s > KEPT_S:
            self._alone.close()
            self._alone = None

    def _count_death(self, engine: EngineHandle) -> None:
        if engine.pulse.absent and not engine.pulse.hangs:
            self._say(f"{engine.name} has ended: its trials go on from their last checkpoints", engine.name, "ended")
        self._dead_starts.count(engine)

    def _start(self, *, alone: bool) -> EngineHandle:
        number, self._started = self._started, self._started + 1
        share = ALONE if alone else 1 - ALONE
        # On a cluster no core at all would let it start on the head.
        of_a_core = share if self.spec.elastic else float(not alone)
        actor_class = ray.remote(EngineActor).options(
            num_cpus=self.spec.num_cpus * of_a_core,
            num_gpus=share if self.spec.gpu else 0.0,
            max_restarts=0,
            max_concurrency=MAX_CALLS,
            **({"runtime_env": {"env_vars": self._environment}} if self._environment else {}),
        )
        actor = actor_class.remote(self._options, f"engine-{number}", self.spec.slots, self._sample)
        return EngineHandle(actor, number=number, slots=self.spec.slots)


def _silence(pulse: Pulse) -> str:
    where = pulse.where
    if where is not None and pulse.stands:
        still = f"has trained nothing for {where.still_s / 60:.0f} min, though it answers: it is at {where.place}"
        return f"({where}) {still}. If it waits there for ever, kill it, and its trials go on from the last checkpoint"
    return f"({where or 'still starting'}) does not answer: {what_then('its trials go')}"


@dataclass(frozen=True, eq=False)
class EngineSlot:
    """One trial's place in an engine of the pool."""

    pool: EnginePool
    engine: EngineHandle

    def engine_for(self, config: dict[str, Any]) -> EngineHandle:
        """The engine that shall train the trial."""
        return self.pool.alone(self) if "alone" in config else self.engine
