"""Where trials train: on what device, on how many engines, how many on each. Knows no Ray."""

from __future__ import annotations

import math
from dataclasses import dataclass

from grokray.errors import ExecutionError
from grokray.sweep.cluster import Machine
from grokray.sweep.config import SweepConfig
from grokray.sweep.inputs import measures_of
from grokray.sweep.messages import WorkerOptions

GPU_OF_A_TRIAL = 0.02  # where `device: cuda` is all that is said
LEARNING_LINE = 2
MAX_ENGINES = 2_000  # asked for at the same time; as engines end, others come


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """`count` engines that train `slots` trials each, with up to `line` more that wait there for a seat; an engine
    holds `num_cpus` cores, or a GPU if `gpu`. `elastic`: `count` are the most; there are as many as trials need."""

    count: int
    slots: int
    line: int = 0
    num_cpus: float = 1.0
    gpu: bool = False
    elastic: bool = False


def worker_options(config: SweepConfig, machine: Machine, store_uri: str) -> WorkerOptions:
    """What each engine is told. ExecutionError if `device` is cuda, but Ray sees no GPU."""
    return WorkerOptions(
        store_uri=store_uri,
        device=device_of_sweep(config, machine),
        compile=config.compile,
        share=share_of_an_engine(config, machine),
        company=company_in_an_engine(config, machine),
        measures=measures_of(config),
    )


def engine_spec(config: SweepConfig, machine: Machine, device: str, *, trials: int) -> EngineSpec:
    """One engine per GPU, or per CPU core; each trains as many trials as fractions of it go in. Of a cluster's cores
    those are counted that are there: if more come, they get full engines."""
    gpu = device == "cuda"
    slots = _slots(config, gpu=gpu)
    # Fewer trials than slots are spread over all engines.
    count = max(min(machine.gpus if gpu else machine.cpus, trials), 1)
    slots = slots if gpu else min(slots, max(math.ceil(trials / count), 1))
    return EngineSpec(
        count=MAX_ENGINES if machine.elastic else count,
        slots=slots,
        line=_line(config, slots),
        num_cpus=0.0 if gpu else 1.0,
        gpu=gpu,
        elastic=machine.elastic,
    )


def _slots_of(config: SweepConfig, machine: Machine) -> int:
    return _slots(config, gpu=device_of_sweep(config, machine) == "cuda")


def _slots(config: SweepConfig, *, gpu: bool) -> int:
    share = config.resources.gpu or GPU_OF_A_TRIAL if gpu else config.resources.cpu
    return max(int(1 / share + 1e-9), 1)


def _line(config: SweepConfig, slots: int) -> int:
    """Equal trials end together, so that all seats are filled again at once. What stands in line was proposed without
    what those that train will tell: where the search learns, it is short. A trial that has an engine for itself
    trains so long that the driver's round trip is nothing."""
    if slots == 1:
        return 0
    return min(slots, LEARNING_LINE) if config.method == "tpe" else slots


def share_of_an_engine(config: SweepConfig, machine: Machine) -> float:
    """The part of the sweep that falls to one engine. Of the search space and the machine alone, however much of the
    sweep is left: whether kernels are compiled goes by it, and trials must come out the same after a restart. Of a
    cluster nothing is asked that changes as nodes come and go."""
    trials = config.all_trials()
    if machine.elastic:
        return 1 / max(math.ceil(trials / _slots_of(config, machine)), 1)
    return 1 / max(min(machine.cpus, trials), 1)


def company_in_an_engine(config: SweepConfig, machine: Machine) -> float:
    """How many trials of one shape it trains at once, of the same alone: as if shapes were equally frequent."""
    if config.execution == "process":
        return 1.0
    trials = config.all_trials() * share_of_an_engine(config, machine)
    return max(min(_slots_of(config, machine), trials) / config.planned_shapes(), 1.0)


def idle_gpus(config: SweepConfig, machine: Machine) -> str | None:
    """What to say where there are GPUs, and nothing in the search space asks for them or against them."""
    if not machine.most_gpus or config.device != "auto" or config.resources.gpu:
        return None
    gpus = "1 GPU is" if machine.most_gpus == 1 else f"{machine.most_gpus:,} GPUs are"
    return (
        f"{gpus} not used: resources.gpu is 0. With --set resources.gpu={GPU_OF_A_TRIAL} each would train "
        f"{round(1 / GPU_OF_A_TRIAL)} trials at once; --set device=cpu leaves this out"
    )


def missing_gpus(config: SweepConfig, machine: Machine) -> str | None:
    """What to say where a share of a GPU is asked for, and there is none."""
    if machine.most_gpus or config.device != "auto" or not config.resources.gpu:
        return None
    where = "in the cluster" if machine.elastic else "here"
    return f"resources.gpu is {config.resources.gpu:g}, but Ray sees no GPU {where}: trials train on the CPU"


def device_of_sweep(config: SweepConfig, machine: Machine) -> str:
    """`cpu` or `cuda`, where the sweep's trials train. ExecutionError for a GPU that is not there, nor will come."""
    if config.device == "cpu":
        return "cpu"
    if machine.most_gpus and (config.device == "cuda" or config.resources.gpu > 0):
        return "cuda"
    if config.device == "cuda":
        where = "in the cluster, nor may its autoscaler add one" if machine.elastic else "here"
        raise ExecutionError(
            f"device is cuda, but Ray sees no GPU {where}", hint="Add --set device=cpu to train on the CPU."
        )
    return "cpu"
