"""Measures of a user's own, taken of a trial while it trains; what they are: `measure_file`."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.restored import Restored
from grokray.engine.shape import shape_of
from grokray.sweep.initial import first_checkpoint
from grokray.sweep.measure_file import MeasureFile, as_it_was, numbers_of
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig


@dataclass(kw_only=True)
class Found:
    """`values` by column; `faults` by measure, of those that raised, and have no value then."""

    values: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class OwnMeasures:
    """Those of a file, of one trial. `device` is where its models are to be."""

    def __init__(self, file: MeasureFile, config: TrialConfig, device: torch.device) -> None:
        self._file, self._config, self._device = file, config, device
        self._dataset = build_dataset(config)
        self._shape = shape_of(self._dataset)

    def of(self, state: Checkpoint) -> Found:
        """Of the trial in that state. Neither a measure that changes what it is given nor one that draws random numbers
        has a part in what else becomes of the trial, or of others."""
        found = Found()
        for name, measure in self._file.measures.items():
            try:
                with as_it_was(), _seeded(self._config.order_seed, state.step, self._device):
                    numbers = numbers_of(name, measure(self._model(_copied(state))))
                if twice := sorted(numbers.keys() & found.values.keys()):
                    raise TypeError(f"{twice[0]} was measured already")
                found.values |= numbers
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # some, such as asyncio's CancelledError, are no Exception
                found.faults[name] = self._file.fault(error)
        return found

    def _model(self, state: Checkpoint) -> Restored:
        parameters = {name: p.to(self._device) for name, p in state.tensors["parameters"].items()}
        return Restored(state, self._config, self._dataset, self._shape, parameters, self._device)


def faults_before(file: MeasureFile, trials: Sequence[TrialConfig]) -> dict[str, str]:
    """By measure, what it raises of one of these trials before its first step."""
    faults: dict[str, str] = {}
    for config in trials:
        found = OwnMeasures(file, config, torch.device("cpu")).of(first_checkpoint(config))
        faults = {**found.faults, **faults}
    return faults


def seconds_of(file: MeasureFile, config: TrialConfig) -> float:
    """How long taking them takes on this machine, of the trial before its first step."""
    measures, state = OwnMeasures(file, config, torch.device("cpu")), first_checkpoint(config)
    measures.of(state)  # what is done once
    start = time.perf_counter()
    measures.of(state)
    return time.perf_counter() - start


def _copied(state: Checkpoint) -> Checkpoint:
    """Of what is to be written, or given to the next measure."""
    tensors = {kind: {name: t.clone() for name, t in of_kind.items()} for kind, of_kind in state.tensors.items()}
    return replace(state, tensors=tensors, metrics={**state.metrics})


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Random numbers of torch, NumPy and Python are those of the trial and step, alone or in company."""
    plain, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what measures draw from is theirs
    own = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(own)
            np.random.seed(own)  # noqa: NPY002
            random.seed(own)
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numpy)  # noqa: NPY002
