"""The configurations of a sweep, proposed one by one, each with its trials.

Not every proposal is a configuration to run: it may equal an earlier one, or be none that can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from grokray.errors import ConfigError
from grokray.records.state import TrialState
from grokray.records.trial_state import Configuration
from grokray.sweep.config import SweepConfig
from grokray.sweep.numbering import Numbering
from grokray.sweep.proposer import make_proposer
from grokray.sweep.space import MAX_FRUITLESS
from grokray.sweep.worth import Worth
from grokray.trial import PATHS, TrialConfig

FRUITLESS_GUESSES = 20  # repeats in a row after which a search that learns proposes at random


class Proposed(NamedTuple):
    """A trial, with its id, which is a hash that takes its time."""

    id: str
    config: TrialConfig


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """`twin` is the earlier configuration that it equals. `trials` are those that it adds, by seed: none of a twin, nor
    where no such trial can be. `numbers` are those that they have in the sweep, by seed: one without comes late."""

    index: int
    parameters: Mapping[str, Any]
    twin: int | None = None
    trials: Mapping[int, Proposed] = field(default_factory=dict)
    numbers: Mapping[int, int] = field(default_factory=dict)

    def suggested(self) -> dict[str, Any]:
        """Its event in the journal."""
        twin = {} if self.twin is None else {"value_of": self.twin}
        return {"event": "suggest", "configuration": self.index, "parameters": self.parameters, **twin}

    @property
    def numbered(self) -> list[Proposed]:
        """Its trials that have numbers."""
        return [self.trials[seed] for seed in self.numbers]

    def trial_events(self, known: Collection[str] = ()) -> list[dict[str, Any]]:
        """Those of its trials that have numbers, but for the known ones."""
        return [
            {
                "event": "trial",
                "trial_id": self.trials[seed].id,
                "index": number,
                "configuration": self.index,
                "seed": seed,
                "config": self.trials[seed].config.model_dump(),
            }
            for seed, number in self.numbers.items()
            if self.trials[seed].id not in known
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
        self._numbering = Numbering()
        self._late: list[Proposal] = []  # of one trial each, that an earlier session did not write down
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
        proposal = self._proposal(index, parameters)
        return replace(proposal, numbers=self._numbering.new(proposal.trials))

    def _proposal(self, index: int, parameters: Mapping[str, Any]) -> Proposal:
        """With the trials that no earlier configuration has; a twin has none."""
        trials = self._trials_of(parameters)
        known = [self.of_trial[trial.id] for trial in trials.values() if trial.id in self.of_trial]
        new = {seed: trial for seed, trial in trials.items() if trial.id not in self.of_trial}
        twin = known[0] if known and not new else None
        return Proposal(index=index, parameters=parameters, twin=twin, trials=new)

    def take(self, proposal: Proposal) -> None:
        if proposal.twin is not None:
            self.worth.repeat(proposal.index, proposal.twin)
        elif not proposal.trials:
            self.worth.refuse(proposal.index)
        else:
            self.members[proposal.index] = [trial.id for trial in proposal.trials.values()]
            self._newest = max(self._newest, proposal.index)
            self.of_trial |= dict.fromkeys(self.members[proposal.index], proposal.index)
        # A grid says itself when it ends; repeats may stand in a row there, and what follows them is new.
        self._exhausted = self.config.method != "grid" and self._fruitless_in_a_row() >= MAX_FRUITLESS

    def replay_begins(self, trials: Mapping[str, TrialState]) -> None:
        """`trials` are those of the journal, here and in `replay`."""
        self._numbering.replay_begins(trials)

    def replay(self, known: Configuration, trials: Mapping[str, TrialState]) -> Proposal:
        """Take a proposal of an earlier session once more, with what the journal has of its trials. Those of a seed
        that has come since are late ones, see `late`."""
        self.proposed = known.index + self.config.stride
        parameters: Mapping[str, Any] | None = known.parameters
        if known.suggested is None:  # its line was damaged
            parameters = self.proposer.propose_again(known.index)
        else:
            self.proposer.replay(known.index, known.parameters)
        proposal = self._unexplained(known, trials) if parameters is None else self._again(known, parameters, trials)
        proposal = replace(
            proposal, numbers=self._numbering.known({s: t.id for s, t in proposal.trials.items()}, trials)
        )
        self.take(proposal)
        late = [seed for seed in proposal.trials if seed not in proposal.numbers]
        self._late += [replace(proposal, trials={seed: proposal.trials[seed]}) for seed in late]
        return proposal

    def late(self) -> list[Proposal]:
        """Once all are replayed: their trials that have no number yet, each as a proposal of its own. They are numbered
        seed by seed, so that to grow by one seed and then by another is to grow by both."""
        place = {seed: place for place, seed in enumerate(self.config.seeds)}
        late = sorted(self._late, key=lambda one: (place[next(iter(one.trials))], one.index))
        self._late = []
        self._numbering.replay_ends()
        return [replace(proposal, numbers=self._numbering.new(proposal.trials)) for proposal in late]

    def _again(self, known: Configuration, parameters: Mapping[str, Any], trials: Mapping[str, TrialState]) -> Proposal:
        """With the trials that it has now, but for those that the journal has of another configuration."""
        twin = Proposal(index=known.index, parameters=parameters, twin=known.value_of)
        if known.value_of is not None and known.value_of not in self.members:
            return twin
        now = self._proposal(known.index, parameters)
        journaled = {seed: trials.get(trial.id) for seed, trial in now.trials.items()}
        own = {seed: now.trials[seed] for seed, t in journaled.items() if t is None or t.configuration == known.index}
        # Even a twin may have some, of seeds that have come since: conditions may fix the seeds of one of the two.
        return replace(now, trials=own) if own or known.value_of is None else twin

    def _unexplained(self, known: Configuration, trials: Mapping[str, TrialState]) -> Proposal:
        """Its trials are known, but not why they were proposed: no search learns from them."""
        made: dict[int, Proposed] = {}
        for place, trial in enumerate(trials[trial_id] for trial_id in known.trial_ids):
            config = TrialConfig.model_validate(dict(trial.config))
            made[place if trial.seed is None else trial.seed] = Proposed(config.id, config)
        return Proposal(index=known.index, parameters={}, trials=made)

    def find_lost(self, known: Collection[int]) -> None:
        """Once all are replayed: those are proposed again of which the journal has lost every line."""
        every = range(self.config.first_index, self.proposed, self.config.stride)
        self._lost = deque(index for index in every if index not in known)

    def _trials_of(self, parameters: Mapping[str, Any]) -> dict[int, Proposed]:
        """The configuration's trials by seed; none where no such trial can be.

        The file's check tries every value, but not every combination of a large space: a modulus drawn from a range
        may turn out composite. What has gone from its path since then is no matter of the combination: ConfigError.
        """
        choice = self.proposer.choice(parameters)
        try:
            configs = {seed: self.config.trial_config(choice, seed) for seed in self.config.seeds}
        except ConfigError as error:
            if any(problem.field in PATHS for problem in error.problems):
                raise
            return {}
        # Where the parameters set all three seeds themselves, the seeds of the sweep make no difference.
        trials = {seed: Proposed(config.id, self.config.named(config, choice)) for seed, config in configs.items()}
        first_of_id = {trial.id: seed for seed, trial in reversed(trials.items())}
        return {seed: trial for seed, trial in trials.items() if first_of_id[trial.id] == seed}

    def _fruitless_in_a_row(self) -> int:
        return (self.proposed - self._newest) // self.config.stride - 1
