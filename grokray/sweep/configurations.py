"""The configurations of a sweep, proposed one by one, each with its trials.

Not every proposal is a configuration to run: it may equal an earlier one, or be none that can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grokray.errors import ConfigError
from grokray.sweep.config import SweepConfig
from grokray.sweep.proposer import make_proposer
from grokray.sweep.space import MAX_FRUITLESS
from grokray.sweep.worth import Worth
from grokray.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """`twin` is the earlier configuration that it equals. `trials` are those that it adds, by seed, the first of them
    number `first` of the sweep: none of a twin, nor where no such trial can be."""

    index: int
    parameters: Mapping[str, Any]
    first: int
    twin: int | None = None
    trials: Mapping[int, TrialConfig] = field(default_factory=dict)

    def suggested(self) -> dict[str, Any]:
        """Its event in the journal."""
        twin = {} if self.twin is None else {"value_of": self.twin}
        return {"event": "suggest", "configuration": self.index, "parameters": self.parameters, **twin}

    def trial_events(self) -> list[dict[str, Any]]:
        """Those of its trials."""
        return [
            {
                "event": "trial",
                "trial_id": config.id,
                "index": self.first + place,
                "configuration": self.index,
                "seed": seed,
                "config": config.model_dump(),
            }
            for place, (seed, config) in enumerate(self.trials.items())
        ]


class Configurations:
    """Those taken, and what is proposed next."""

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        self.proposer = make_proposer(config)
        self.worth = Worth(config, self.proposer)
        self.members: dict[int, list[str]] = {}  # configuration -> its trials
        self.of_trial: dict[str, int] = {}
        self.proposed = config.first_index  # up to here, not included; those of other parts are passed over
        self._exhausted = False

    @property
    def complete(self) -> bool:
        """Whether there are no more to come."""
        return self._exhausted or len(self.members) >= self.config.num_configurations()

    @property
    def trials_to_come(self) -> int:
        """Of configurations that are not proposed yet."""
        left = max(self.config.num_configurations() - len(self.members), 0) * len(self.config.seeds)
        return 0 if self._exhausted else left

    def propose(self) -> Proposal | None:
        """The next one, to be written down and then taken; None if there are no more."""
        index = self.proposed
        parameters = self.proposer.propose(index)
        if parameters is None:
            self._exhausted = True
            return None
        self.proposed += self.config.stride
        trials = self._trials_of(parameters)
        twin = next((self.of_trial.get(trial.id) for trial in trials.values()), None)
        added = trials if twin is None else {}
        return Proposal(index=index, parameters=parameters, first=len(self.of_trial), twin=twin, trials=added)

    def take(self, proposal: Proposal) -> None:
        self._take(proposal)
        # A grid says itself when it ends; repeats may stand in a row there, and what follows them is new.
        self._exhausted = self.config.method != "grid" and self._fruitless_in_a_row() >= MAX_FRUITLESS

    def replay(self, index: int, parameters: Mapping[str, Any], twin: int | None) -> Proposal:
        """Take a proposal of an earlier session once more."""
        self.proposed = index + self.config.stride
        trials = self._trials_of(parameters) if twin is None else {}
        proposal = Proposal(index=index, parameters=parameters, first=len(self.of_trial), twin=twin, trials=trials)
        self.proposer.replay(index, parameters)
        self._take(proposal)
        return proposal

    def _take(self, proposal: Proposal) -> None:
        if proposal.twin is not None:
            self.worth.repeat(proposal.index, proposal.twin)
        elif not proposal.trials:
            self.worth.refuse(proposal.index)
        else:
            self.members[proposal.index] = [config.id for config in proposal.trials.values()]
            self.of_trial |= dict.fromkeys(self.members[proposal.index], proposal.index)

    def _trials_of(self, parameters: Mapping[str, Any]) -> dict[int, TrialConfig]:
        """The configuration's trials by seed; none where no such trial can be.

        The file's check tries every value, but not every combination of a large space: a modulus drawn from a range
        may turn out composite. Data that have gone since then are no matter of the combination: ConfigError.
        """
        choice = self.proposer.choice(parameters)
        try:
            trials = {seed: self.config.trial_config(choice, seed) for seed in self.config.seeds}
        except ConfigError as error:
            if any(problem.field == "data_dir" for problem in error.problems):
                raise
            return {}
        # Where the parameters set all three seeds themselves, the seeds of the sweep make no difference.
        first_of_id = {trial.id: seed for seed, trial in reversed(trials.items())}
        return {seed: trial for seed, trial in trials.items() if first_of_id[trial.id] == seed}

    def _fruitless_in_a_row(self) -> int:
        stride = self.config.stride
        newest = max(self.members, default=self.config.first_index - stride)
        return (self.proposed - newest) // stride - 1
