"""The configurations of a sweep, proposed one by one, each with its trials.

Not every proposal is a configuration to run: it may equal an earlier one, or be none that can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from grokray.errors import ConfigError
from grokray.records.state import TrialState
from grokray.records.trial_state import Configuration
from grokray.sweep.config import SweepConfig
from grokray.sweep.proposer import make_proposer
from grokray.sweep.space import MAX_FRUITLESS
from grokray.sweep.worth import Worth
from grokray.trial import PATHS, TrialConfig

FRUITLESS_GUESSES = 20  # repeats in a row after which a search that learns proposes at random


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
        self.next_trial = 0  # the number of the next new trial
        self._newest = config.first_index - config.stride  # of the members: looked for it would take longer each time
        self._lost: deque[int] = deque()  # proposals that the journal has lost, to be made once more
        self._exhausted = False

    @property
    def complete(self) -> bool:
        """Whether there are no more to come."""
        if len(self.members) >= self.config.num_configurations():
            return True
        return self._exhausted and not self._lost

    @property
    def trials_to_come(self) -> int:
        """Of configurations that are not proposed yet."""
        left = max(self.config.num_configurations() - len(self.members), 0) * len(self.config.seeds)
        return 0 if self.complete else left

    def propose(self) -> Proposal | None:
        """The next one, to be written down and then taken; None if there are no more."""
        index = self._lost.popleft() if self._lost else self.proposed
        parameters = self.proposer.propose(index, at_random=self._fruitless_in_a_row() >= FRUITLESS_GUESSES)
        if parameters is None:
            self._exhausted = True
            return None
        self.proposed = max(self.proposed, index + self.config.stride)
        return self._proposal(index, parameters)

    def _proposal(self, index: int, parameters: Mapping[str, Any]) -> Proposal:
        """With the trials that no earlier configuration has; a twin has none."""
        trials = self._trials_of(parameters)
        known = [self.of_trial[trial.id] for trial in trials.values() if trial.id in self.of_trial]
        new = {seed: trial for seed, trial in trials.items() if trial.id not in self.of_trial}
        twin = known[0] if known and not new else None
        return Proposal(index=index, parameters=parameters, first=self.next_trial, twin=twin, trials=new)

    def take(self, proposal: Proposal) -> None:
        if proposal.twin is not None:
            self.worth.repeat(proposal.index, proposal.twin)
        elif not proposal.trials:
            self.worth.refuse(proposal.index)
        else:
            self.members[proposal.index] = [config.id for config in proposal.trials.values()]
            self._newest = max(self._newest, proposal.index)
            self.of_trial |= dict.fromkeys(self.members[proposal.index], proposal.index)
            self.next_trial = max(self.next_trial, proposal.first + len(proposal.trials))
        # A grid says itself when it ends; repeats may stand in a row there, and what follows them is new.
        self._exhausted = self.config.method != "grid" and self._fruitless_in_a_row() >= MAX_FRUITLESS

    def replay(self, known: Configuration, trials: Mapping[str, TrialState]) -> Proposal:
        """Take a proposal of an earlier session once more, with what the journal has of its trials."""
        self.proposed = known.index + self.config.stride
        parameters: Mapping[str, Any] | None = known.parameters
        if known.suggested is None:  # its line was damaged
            parameters = self.proposer.propose_again(known.index)
        else:
            self.proposer.replay(known.index, known.parameters)
        if parameters is None:
            proposal = self._unexplained(known, trials)
        elif known.value_of is None:
            proposal = self._proposal(known.index, parameters)
        else:
            proposal = Proposal(index=known.index, parameters=parameters, first=self.next_trial, twin=known.value_of)
        proposal = self._numbered(proposal, trials)
        self.take(proposal)
        return proposal

    def _unexplained(self, known: Configuration, trials: Mapping[str, TrialState]) -> Proposal:
        """Its trials are known, but not why they were proposed: no search learns from them."""
        made: dict[int, TrialConfig] = {}
        for place, trial in enumerate(trials[trial_id] for trial_id in known.trial_ids):
            made[place if trial.seed is None else trial.seed] = TrialConfig.model_validate(dict(trial.config))
        return Proposal(index=known.index, parameters={}, first=self.next_trial, trials=made)

    def _numbered(self, proposal: Proposal, trials: Mapping[str, TrialState]) -> Proposal:
        """With the numbers that its trials have in the journal."""
        for place, trial in enumerate(proposal.trials.values()):
            known = trials.get(trial.id)
            if known is not None and known.index is not None:
                return replace(proposal, first=known.index - place)
        return proposal

    def find_lost(self, known: Collection[int]) -> None:
        """Once all are replayed: those are proposed again of which the journal has lost every line."""
        every = range(self.config.first_index, self.proposed, self.config.stride)
        self._lost = deque(index for index in every if index not in known)

    def _trials_of(self, parameters: Mapping[str, Any]) -> dict[int, TrialConfig]:
        """The configuration's trials by seed; none where no such trial can be.

        The file's check tries every value, but not every combination of a large space: a modulus drawn from a range
        may turn out composite. What has gone from its path since then is no matter of the combination: ConfigError.
        """
        choice = self.proposer.choice(parameters)
        try:
            trials = {seed: self.config.trial_config(choice, seed) for seed in self.config.seeds}
        except ConfigError as error:
            if any(problem.field in PATHS for problem in error.problems):
                raise
            return {}
        # Where the parameters set all three seeds themselves, the seeds of the sweep make no difference.
        first_of_id = {trial.id: seed for seed, trial in reversed(trials.items())}
        return {seed: trial for seed, trial in trials.items() if first_of_id[trial.id] == seed}

    def _fruitless_in_a_row(self) -> int:
        return (self.proposed - self._newest) // self.config.stride - 1
