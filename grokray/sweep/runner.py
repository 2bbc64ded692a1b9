"""A whole sweep: opens its folder, runs on Tune what has not ended, and writes the tables."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokray.arguments import check_switches
from grokray.errors import ExecutionError, FolderError
from grokray.records.collect import Collected, collect, require_all
from grokray.records.folder import SweepFolder
from grokray.records.lock import Lock
from grokray.records.state import SweepState
from grokray.records.uri import hide_secrets
from grokray.sweep import inputs
from grokray.sweep.ahead import import_ahead
from grokray.sweep.assignment import COMPILING
from grokray.sweep.cluster import Machine, ray_cluster, reach
from grokray.sweep.config import SweepConfig
from grokray.sweep.interruption import interruptible, stopping_together
from grokray.sweep.messages import State, WorkerOptions
from grokray.sweep.placement import engine_spec, idle_gpus, missing_gpus, worker_options
from grokray.sweep.progress import Progress, progress_of
from grokray.sweep.ray_start import ENVIRONMENT
from grokray.sweep.stand_ins import pinned
from grokray.sweep.tracked import check_tracking, tracked
from grokray.sweep.versions import made_with

if TYPE_CHECKING:
    from grokray.sweep.engines import EnginePool
    from grokray.sweep.ledger import Ledger

TICK_S = 0.5
PATIENCE_S = 10.0
WAITING_FOR_NODES = "waiting for the cluster: no node has room for an engine yet"


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """`interrupted`: the user stopped it; the same command goes on."""

    collected: Collected
    progress: Progress
    interrupted: bool
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class Observer:
    """What the caller wants to see: `message` one line of text, `progress` about twice a second."""

    message: Callable[[str], None] = lambda text: None
    progress: Callable[[Progress], None] = lambda progress: None


def run_sweep(
    config: SweepConfig,
    out: str | Path,
    *,
    address: str | None = None,
    insecure: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
) -> SweepResult:
    """Run the sweep in its folder `out`, or go on with it there; with `retry_failed` also with trials that failed.

    Raises FolderError if the folder belongs to another search space, FolderBusy if another process runs it,
    ExecutionError if trials cannot be run at all, ConfigError if a tracker that is asked for cannot work or a variable
    of the environment cannot be used, ClusterError if the cluster at `address` lets in anybody, unless `insecure`.
    """
    observer = observer or Observer()
    check_switches()
    check_tracking(config.tracking, observer.message)
    if address is not None and SweepFolder.find(out, config.fingerprint()) is None:
        reach(address, insecure=insecure)  # a folder is not to be taken for a sweep that cannot begin
    meta = {"versions": made_with(), "command": shlex.join(hide_secrets(word) for word in sys.argv)}
    folder = SweepFolder.create_or_open(out, config.to_yaml(), config.fingerprint(), meta)
    with folder.lock() as lock:
        inputs.keep(folder.store, config)
        config = pinned(config, folder.store)
        session = _Session(folder, config, observer, meta, lock, retry_failed=retry_failed)
        with tracked(folder, config.tracking, observer.message, group=config.name, rounds=session.rounds):
            try:
                session.run(address, insecure=insecure)
            finally:
                session.close()
        result = session.result()
    if session.unheard is not None:
        raise session.unheard
    return result


class _Session:
    """One run of the driver on a sweep's folder."""

    def __init__(
        self,
        folder: SweepFolder,
        config: SweepConfig,
        observer: Observer,
        meta: dict[str, Any],
        lock: Lock,
        *,
        retry_failed: bool,
    ) -> None:
        self.folder, self.config, self.meta, self.lock = folder, config, meta, lock
        self.retry_failed = retry_failed
        self.observer = Observer(message=self._heard(observer.message), progress=self._heard(observer.progress))
        self.stopping = threading.Event()
        self.unheard: BaseException | None = None
        self.name, self.started = f"{time.time_ns():x}", time.time()
        self._books: Ledger | None = None
        self._shown = 0.0
        self._told: set[str] = set()
        self._unmeasured: set[str] = set()

    def _heard(self, tell: Callable[[Any], None]) -> Callable[[Any], None]:
        """`tell`, but where nobody hears it any more, a pipe is closed or a log's disk full, the sweep is interrupted
        as by Ctrl-C, and the error is kept for its end."""

        def told(what: Any) -> None:
            if self.unheard is None:
                try:
                    tell(what)
                except (OSError, SystemExit) as error:  # rich ends the process where a pipe is closed
                    self.unheard = error
                    self.stopping.set()

        return told

    @property
    def ledger(self) -> Ledger:
        """Opened when it is first asked for."""
        if self._books is None:
            self._books = self._open()
        return self._books

    def rounds(self) -> dict[str, int]:
        """How often trials were to be run again, having failed."""
        return self.ledger.rounds if self.folder.begun() else {}

    @property
    def resumed(self) -> bool:
        return any(session.session != self.name for session in self.ledger.state.sessions)

    def run(self, address: str | None, *, insecure: bool = False) -> None:
        # Where there is nothing to replay, Ray and the engines start first, and the books are opened meanwhile.
        if not self.folder.begun():
            require_all(self.folder, SweepState())
        else:
            require_all(self.folder, self.ledger.state, self.ledger.reader.damaged)
            if self.ledger.finished:
                self.ledger.tidy()
                return
            if self.folder.growth:
                self.observer.message(f"the sweep grows: {self.folder.growth}")
            self.observer.message(f"going on: of {self.ledger.total:,} trials {self.ledger.to_run:,} are left to run")
        import_ahead()
        with ray_cluster(address, insecure=insecure) as machine, interruptible(self.stopping.set):
            options = worker_options(self.config, machine, self.folder.store.uri)
            if remark := idle_gpus(self.config, machine) or missing_gpus(self.config, machine):
                self.observer.message(remark)
            with self._engines(machine, options) as pool:
                self._run(options, pool)
        self.lock.require()
        self.ledger.tidy()
        if self.stopping.is_set():
            self.ledger.write("interrupt", session=self.name)

    def result(self) -> SweepResult:
        self.lock.require()
        state = self.ledger.poll()
        return SweepResult(
            collected=collect(self.folder, state),
            progress=progress_of(state, self.ledger.total, metric=self.config.metrics[0]),
            interrupted=self.stopping.is_set(),
            resumed=self.resumed,
        )

    def close(self) -> None:
        if self._books is not None:
            self._books.close()

    def _open(self) -> Ledger:
        from grokray.sweep.ledger import Ledger

        ledger = Ledger(self.folder, self.config, retry_failed=self.retry_failed, session=self.name)
        ledger.write(
            "sweep",
            session=self.name,
            number=len(ledger.state.sessions) + 1,
            versions=self.meta["versions"],
            command=self.meta["command"],
            fingerprint=self.config.fingerprint(),
        )
        return ledger

    @contextmanager
    def _engines(self, machine: Machine, options: WorkerOptions) -> Iterator[EnginePool | None]:
        """They get up while we go on; None where each trial has a process of its own."""
        if self.config.execution == "process":
            yield None
            return
        from grokray.sweep.engines import EnginePool
        from grokray.sweep.ray_watch import groups_of_ray
        from grokray.sweep.samples import sample_of_trials

        trials = self.config.all_trials() if self._books is None else self._books.to_run
        spec = engine_spec(self.config, machine, options.device, trials=trials)
        environment = {} if machine.prepared else ENVIRONMENT
        sample = sample_of_trials(self.config) if machine.elastic else ()
        pool = EnginePool(
            spec,
            options,
            environment=environment,
            to_run=lambda: self.ledger.to_run,
            sample=sample,
            say=self._say,
        )
        with ExitStack() as stack:
            stack.callback(pool.close)
            stack.callback(lambda: pool.save_all() if self.stopping.is_set() else None)
            stack.enter_context(stopping_together(lambda: [*pool.processes_here(), *groups_of_ray()]))
            pool.start()
            yield pool

    def _run(self, options: WorkerOptions, pool: EnginePool | None) -> None:
        """Run Tune, chunk by chunk, until nothing is left."""
        from grokray.sweep.fit import fit
        from grokray.sweep.processes import Processes
        from grokray.sweep.schedulers import make_scheduler

        scheduler, self.ledger.rungs = make_scheduler(
            self.config,
            max_steps=self.config.max_steps(),
            record=lambda **fields: self.ledger.write("decision", **fields),
            decisions=self.ledger.state.decisions,
        )
        self.ledger.catch_up()
        while not (self.ledger.finished or self.stopping.is_set()):
            ended = len(self.ledger.ended)
            tick = partial(self._tick, pool)
            trains = Processes(self._say) if pool is None else pool
            fit(self.ledger, scheduler, options, trains, on_tick=tick, stop_when=self.stopping.is_set)
            if len(self.ledger.ended) == ended and not (self.stopping.is_set() or self.ledger.finished):
                raise ExecutionError("Tune came back with nothing done", hint="Run the same command again.")

    def _tick(self, pool: EnginePool | None) -> None:
        now = time.monotonic()
        if now - self._shown >= TICK_S:
            self._shown = now
            self.lock.require()
            state = self.ledger.poll() if self.ledger.reader.due else self.ledger.state
            metric = self.config.metrics[0]
            self.observer.progress(progress_of(state, self.ledger.total, metric=metric, session=self.name))
            self._say_what_takes_so_long(state, pool)
            self._say_what_is_not_measured(state)

    def _say_what_takes_so_long(self, state: SweepState, pool: EnginePool | None) -> None:
        """Each once: when trials wait for nodes, or for the compiler and nothing was ever measured."""
        if pool is not None and pool.waits_for_nodes and time.time() - self.started > PATIENCE_S:
            self._tell(WAITING_FOR_NODES)
        elif not state.metric_names and any(trial.compiled for trial in state.trials.values()):
            self._tell(COMPILING)

    def _say_what_is_not_measured(self, state: SweepState) -> None:
        """Of each measure of the user's own once; what it raises may differ each time."""
        for name in sorted(state.faults.keys() - self._unmeasured):
            self._unmeasured.add(name)
            self.observer.message(f"not measured: {name}, as {state.faults[name].error}")

    def _say(self, text: str, name: str = "", state: State | None = None) -> None:
        """What is wrong with a node, once; of a process that trains, each time, and to the journal."""
        if state is None:
            self._tell(text)
            return
        self.observer.message(text)
        with suppress(FolderError):  # who needs the folder will tell
            self.ledger.write("engine", engine=name, state=state, session=self.name)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.observer.message(text)
