"""One run of Ray Tune over the ledger's trials, fused or each in a process of its own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ray import tune
from ray.tune.schedulers import TrialScheduler

from grokray.errors import ExecutionError
from grokray.sweep.cluster import Machine, scratch_folder
from grokray.sweep.config import SweepConfig
from grokray.sweep.engines import EnginePool, EngineSpec
from grokray.sweep.executor import slots_for_tune, tolerant_of_any_death
from grokray.sweep.ledger import Ledger
from grokray.sweep.searcher import LedgerCallback, LedgerSearcher, StopWhen
from grokray.sweep.trainable import ProcessTrial, SeatedTrial, WorkerOptions

MAX_PENDING = 200
LEARNING_PENDING = 8
GPU_OF_A_TRIAL = 0.02  # where `device: cuda` is all that is said
CHUNK_TRIALS = 2_000  # Tune's memory and time grow with every trial it has seen


def fit(
    ledger: Ledger,
    scheduler: TrialScheduler,
    machine: Machine,
    *,
    on_tick: Callable[[], None],
    stop_when: Callable[[], bool],
) -> None:
    """Run trials until the ledger has none left to start, `stop_when` holds, or a chunk is full."""
    config = ledger.config
    device = choose_device(config, machine)
    options = WorkerOptions(
        store_uri=ledger.folder.store.uri,
        device=device,
        compile=config.compile,
        share=share_of_an_engine(config, machine),
    )
    if config.execution == "fused":
        spec = engine_spec(config, machine, device, trials=ledger.to_run)
        pool = EnginePool(spec, replace(options, slots=spec.slots))
        with slots_for_tune(pool), _closing(pool, stop_when):
            _tune(ledger, scheduler, options, spec.count * spec.slots, on_tick, _saving(pool, stop_when))
    else:
        with tolerant_of_any_death():
            _tune(ledger, scheduler, options, MAX_PENDING, on_tick, stop_when)


def engine_spec(config: SweepConfig, machine: Machine, device: str, *, trials: int) -> EngineSpec:
    """One engine per GPU, or per CPU core; each seats as many trials as fractions of it go in."""
    gpu = device == "cuda"
    share = config.resources.gpu or GPU_OF_A_TRIAL if gpu else config.resources.cpu
    slots = max(int(1 / share + 1e-9), 1)
    engines = machine.gpus if gpu else machine.cpus
    # Fewer trials than slots are spread over all engines.
    count = max(min(engines, trials), 1)
    return EngineSpec(
        count=count,
        slots=min(slots, max(math.ceil(trials / count), 1)) if not gpu else slots,
        num_cpus=0.0 if gpu else 1.0,
        gpu=gpu,
    )


def share_of_an_engine(config: SweepConfig, machine: Machine) -> float:
    """The part of the sweep that falls to one engine. Of the search space and the machine alone, however much of the
    sweep is left: whether kernels are compiled goes by it, and trials must come out the same after a restart."""
    trials = config.num_configurations() * len(config.seeds)
    return 1 / max(min(machine.cpus, trials), 1)


def choose_device(config: SweepConfig, machine: Machine) -> str:
    if config.device == "cpu":
        return "cpu"
    if machine.gpus and (config.device == "cuda" or config.resources.gpu > 0):
        return "cuda"
    if config.device == "cuda":
        raise ExecutionError(
            "device is cuda, but Ray sees no GPU here", hint="Add --set device=cpu to train on the CPU."
        )
    return "cpu"


def _tune(
    ledger: Ledger,
    scheduler: TrialScheduler,
    options: WorkerOptions,
    slots: int,
    on_tick: Callable[[], None],
    stop_when: Callable[[], bool],
) -> None:
    # What waits for a seat was proposed without what those that train will tell.
    pending = LEARNING_PENDING if ledger.config.method == "tpe" else MAX_PENDING
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(slots, pending))
    resources = ledger.config.resources
    fused = ledger.config.execution == "fused"
    trainable = SeatedTrial if fused else ProcessTrial
    gpu = resources.gpu or GPU_OF_A_TRIAL
    request = {"cpu": resources.cpu} | ({"gpu": gpu} if options.device == "cuda" else {})
    searcher = LedgerSearcher(ledger, options, max_trials=CHUNK_TRIALS)
    books = LedgerCallback(ledger, on_tick)
    with scratch_folder() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, request),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=False,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                callbacks=[books],
                stop=StopWhen(lambda: stop_when() or books.error is not None),
                failure_config=tune.FailureConfig(max_failures=-1),  # our own count decides
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    if books.error is not None:
        raise books.error


def _saving(pool: EnginePool, stop_when: Callable[[], bool]) -> Callable[[], bool]:
    """`stop_when`, telling the pool that who leaves from now on is interrupted, not pruned."""

    def stop() -> bool:
        pool.saving = pool.saving or stop_when()
        return pool.saving

    return stop


@contextmanager
def _closing(pool: EnginePool, stop_when: Callable[[], bool]) -> Iterator[None]:
    try:
        yield
    finally:
        if stop_when():
            pool.save_all()
        pool.close()
