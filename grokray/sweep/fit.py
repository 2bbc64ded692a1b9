"""One run of Ray Tune over the ledger's trials, fused or each in a process of its own."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler

from grokray.errors import GrokrayError
from grokray.sweep.cluster import scratch_folder
from grokray.sweep.config import SweepConfig
from grokray.sweep.engines import EnginePool
from grokray.sweep.executor import slots_for_tune, tolerant_of_any_death
from grokray.sweep.ledger import Ledger
from grokray.sweep.messages import WorkerOptions
from grokray.sweep.placement import GPU_OF_A_TRIAL
from grokray.sweep.processes import Processes
from grokray.sweep.searcher import LedgerCallback, LedgerSearcher, StopWhen
from grokray.sweep.secrecy import without_keys
from grokray.sweep.trainable import ProcessTrial, SeatedTrial

MAX_PENDING = 200
FOLDER_FAULTS = 5  # occasions in a row on a cluster
LEARNING_PENDING = 4
# Tune's memory grows with every trial it has seen. At the end of a chunk seats stay empty, so it holds several times as
# many trials as there are seats.
CHUNK_TRIALS, MOST_CHUNK_TRIALS, ROUNDS = 2_000, 20_000, 4


def fit(
    ledger: Ledger,
    scheduler: TrialScheduler,
    options: WorkerOptions,
    pool: EnginePool | Processes,
    *,
    on_tick: Callable[[], None],
    stop_when: Callable[[], bool],
) -> None:
    """Run trials until the ledger has none left to start, `stop_when` holds, or a chunk is full: on the engines of
    `pool`, or each in a process of its own."""
    if isinstance(pool, Processes):
        callback = LedgerCallback(ledger, on_tick, processes=pool)
        slots, stop, seam = MAX_PENDING, stop_when, tolerant_of_any_death()
    else:
        faults = FOLDER_FAULTS if pool.spec.elastic else 0
        callback = LedgerCallback(ledger, on_tick, pool.save_from_now_on, folder_faults=faults)
        slots, stop, seam = pool.seats, _saving(pool, stop_when), slots_for_tune(pool)
    with errors_of_ours_first(), seam, without_keys(), scratch_folder() as scratch:
        search = _search(ledger, scheduler, options, slots=slots)
        run = _run(str(scratch), callback, stop)
        tune.Tuner(_trainable(ledger.config, options), tune_config=search, run_config=run).fit()
    gc.collect()  # what Tune kept of its trials, in circles
    if callback.error is not None:
        raise callback.error


@contextmanager
def errors_of_ours_first() -> Iterator[None]:
    """Where an error of ours ends Tune's loop, Tune tidies up, which may fail: then it is that error that is told."""
    try:
        yield
    except Exception as error:
        before: BaseException | None = error
        while before is not None and not isinstance(before, GrokrayError):
            before = before.__cause__ or before.__context__
        if before is None:
            raise
        raise before from before.__cause__


def _trainable(config: SweepConfig, options: WorkerOptions) -> Any:
    """With what a trial of it takes of the machine."""
    resources = config.resources
    gpu = {"gpu": resources.gpu or GPU_OF_A_TRIAL} if options.device == "cuda" else {}
    trainable = SeatedTrial if config.execution == "fused" else ProcessTrial
    return tune.with_resources(trainable, {"cpu": resources.cpu, **gpu})


def _search(ledger: Ledger, scheduler: TrialScheduler, options: WorkerOptions, *, slots: int) -> tune.TuneConfig:
    """Where trials come from, one chunk of them, and which are stopped."""
    # What waits for a seat was proposed without what those that train will tell.
    pending = LEARNING_PENDING if ledger.config.method == "tpe" else MAX_PENDING
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(slots, pending))
    chunk = min(max(ROUNDS * slots, CHUNK_TRIALS), MOST_CHUNK_TRIALS)
    return tune.TuneConfig(
        search_alg=LedgerSearcher(ledger, options, max_trials=chunk),
        scheduler=scheduler,
        num_samples=-1,
        reuse_actors=False,
        trial_name_creator=lambda trial: trial.trial_id,
        trial_dirname_creator=lambda trial: trial.trial_id,
    )


def _run(scratch: str, callback: LedgerCallback, stop_when: Callable[[], bool]) -> tune.RunConfig:
    """Who is told of trials, and when all of it stops."""
    return tune.RunConfig(
        name="tune",
        storage_path=scratch,
        verbose=0,
        callbacks=[callback],
        stop=StopWhen(lambda: stop_when() or callback.error is not None),
        failure_config=tune.FailureConfig(max_failures=-1),  # our own count decides
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
    )


def _saving(pool: EnginePool, stop_when: Callable[[], bool]) -> Callable[[], bool]:
    """`stop_when`, telling the pool that who leaves from now on is interrupted, not pruned."""

    def stop() -> bool:
        if stop_when():
            pool.save_from_now_on()
        return pool.saving

    return stop
