"""Where configurations come from: a grid, a Sobol sequence, or an Optuna sampler.

A proposer is a function of the search's seed and the proposal's index, and for TPE of what it was told; nothing else.
So a sweep that is resumed goes on proposing where it stopped, once `replay` has been called for what was proposed.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FixedTrial

from grokray.sweep.config import SweepConfig
from grokray.sweep.space import Choice

if TYPE_CHECKING:
    from scipy.stats.qmc import Sobol

Parameters = Mapping[str, Any]
Value = float | Sequence[float]  # one for each metric of the sweep


class Proposer(ABC):
    """`parameters` are what the journal keeps of a proposal; `choice` makes them the values of a configuration."""

    def __init__(self, config: SweepConfig) -> None:
        self.config = config

    @abstractmethod
    def propose(self, index: int, *, at_random: bool = False) -> dict[str, Any] | None:
        """The parameters of proposal number `index`; None where there are no more. `at_random`: whatever was learned,
        which makes no difference where nothing is."""

    def propose_again(self, index: int) -> dict[str, Any] | None:
        """The same as before, of a proposal that is lost; None where it would be another one now."""
        return self.propose(index)

    def choice(self, parameters: Parameters) -> Choice:
        return dict(parameters)

    def tell(self, index: int, value: Value) -> None:  # noqa: B027 - only samplers that learn listen
        """The value of a configuration, when its last trial has ended."""

    def replay(self, index: int, parameters: Parameters) -> None:  # noqa: B027
        """Take over a proposal of an earlier session. Its value, if it has ended, is told as usual."""


def make_proposer(config: SweepConfig) -> Proposer:
    return {"grid": GridProposer, "sobol": SobolProposer, "random": RandomProposer, "tpe": TpeProposer}[config.method](
        config
    )


class GridProposer(Proposer):
    """Every combination, in file order."""

    def __init__(self, config: SweepConfig) -> None:
        super().__init__(config)
        self._rest, self._next = config.grid(), 0

    def propose(self, index: int, *, at_random: bool = False) -> dict[str, Any] | None:
        if index < self._next:
            self._rest, self._next = self.config.grid(), 0
        choice = next(islice(self._rest, index - self._next, None), None)
        self._next = index + 1
        return choice


class SobolProposer(Proposer):
    """A scrambled Sobol sequence over the unit cube (scipy.stats.qmc).

    Optuna's QMCSampler learns the space from a finished trial, and draws at random until there is one: with many
    trials in flight that is most of them.
    """

    def __init__(self, config: SweepConfig) -> None:
        super().__init__(config)
        self._dimensions = config.dimensions()
        self._sequence: Sobol | None = None  # to scramble one anew takes longer than all else of a proposal
        self._next = 0

    def propose(self, index: int, *, at_random: bool = False) -> dict[str, Any] | None:
        if self._dimensions == 0:
            return self.config.from_units([]) if index == 0 else None
        if self._sequence is None or index < self._next:
            self._sequence, self._next = self._begun(), 0
        if index > self._next:
            self._sequence.fast_forward(index - self._next)
        self._next = index + 1
        return self.config.from_units(self._sequence.random(1)[0].tolist())

    def _begun(self) -> Sobol:
        from scipy.stats.qmc import Sobol  # half a second

        return Sobol(self._dimensions, scramble=True, rng=self.config.seed)


class OptunaProposer(Proposer):
    """What is common to random search and TPE. The sampler is made anew for each proposal, seeded by its index."""

    def __init__(self, config: SweepConfig) -> None:
        super().__init__(config)
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def choice(self, parameters: Parameters) -> Choice:
        return self.config.sample(FixedTrial(dict(parameters)))

    def _seed(self, index: int) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.config.seed}/{index}".encode()).digest()[:4], "big")


class RandomProposer(OptunaProposer):
    """Remembers nothing: a study would keep kilobytes of every proposal."""

    def propose(self, index: int, *, at_random: bool = False) -> dict[str, Any] | None:
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self._seed(index))).ask()
        self.config.sample(trial)
        return dict(trial.params)


class TpeProposer(OptunaProposer):
    """Optuna's tree-structured Parzen estimator, for one metric or several. It learns from what it is told."""

    def __init__(self, config: SweepConfig) -> None:
        super().__init__(config)
        self.study = optuna.create_study(directions=[metric.goal for metric in config.metrics])
        self._asked: dict[int, optuna.Trial] = {}

    def propose(self, index: int, *, at_random: bool = False) -> dict[str, Any] | None:
        seed = self._seed(index)
        # Many trials are in flight: the liar keeps TPE from proposing the same good place over and over.
        tpe = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self.study.sampler = optuna.samplers.RandomSampler(seed=seed) if at_random else tpe
        trial = self._asked[index] = self.study.ask()
        self.config.sample(trial)
        return dict(trial.params)

    def propose_again(self, index: int) -> dict[str, Any] | None:
        return None  # it had learned less then

    def tell(self, index: int, value: Value) -> None:
        asked = self._asked.pop(index, None)
        if asked is not None:
            self.study.tell(asked, value)

    def replay(self, index: int, parameters: Parameters) -> None:
        self.study.enqueue_trial(dict(parameters))
        trial = self._asked[index] = self.study.ask()
        self.config.sample(trial)
