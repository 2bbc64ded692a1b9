"""How a sweep is doing, as the display and `grokray status` show it. Derived from the folded journal alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from grokray.records.state import SweepState
from grokray.records.trial_state import Fault, TrialState
from grokray.sweep.metrics import ROBUSTNESS
from grokray.sweep.sections import Metric

DEFAULT = Metric()


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Of the trials that the scheduler wanted to stop (`stops`), those that ran on by lot (`audited`), and how many of
    these have grokked."""

    stops: int = 0
    audited: int = 0
    grokked: int = 0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Counts of trials. `steps` are optimiser updates, summed over trials and counted once; `ended_steps` those of
    the trials that have ended. `errors` are why trials failed, the most frequent first. `repeats` counts the
    configurations that were no new ones, so that they have no trials. `faults` are those of measures of the user's
    own, by name."""

    total: int
    known: int
    running: int
    ended: int
    outcomes: dict[str, int]
    steps: int
    ended_steps: int
    best: tuple[TrialState, ...]
    errors: dict[str, int] = field(default_factory=dict)
    audit: Audit = Audit()
    repeats: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def grokked(self) -> int:
        return self.outcomes.get("grokked", 0)

    @property
    def waiting(self) -> int:
        return self.total - self.running - self.ended


def progress_of(
    state: SweepState, total: int, *, metric: Metric = DEFAULT, best: int = 5, session: str | None = None
) -> Progress:
    """`total` counts the trials there will be; the `best` ones are so by `metric`. With `session`
    only trials that it started last run: any other is over."""
    trials = list(state.trials.values())
    ended = [t for t in trials if t.done]
    audited = [t for t in trials if t.audited]
    shares = _shares_grokked(trials) if metric.name == ROBUSTNESS else {}
    return Progress(
        total=max(total, len(trials)),
        known=len(trials),
        running=sum(t.state == "running" and session in (None, t.session) for t in trials),
        ended=len(ended),
        outcomes=dict(Counter(t.outcome for t in ended if t.outcome)),
        steps=sum(t.last_step for t in trials),
        ended_steps=sum(t.last_step for t in ended),
        best=tuple(sorted((t for t in trials if t.last_step), key=partial(_rank, metric, shares))[:best]),
        errors=dict(Counter(t.error for t in ended if t.outcome == "failed" and t.error).most_common()),
        audit=Audit(
            stops=sum(t.stop is not None for t in trials),
            audited=len(audited),
            grokked=sum(t.events.get("grok_step") is not None for t in audited),
        ),
        repeats=sum(c.value_of is not None for c in state.configurations.values()),
        faults={name: state.faults[name] for name in sorted(state.faults)},
    )


def _shares_grokked(trials: Sequence[TrialState]) -> dict[int | None, float]:
    """Of each configuration: how many of its trials have grokked so far, of all that it has."""
    trials_of = Counter(t.configuration for t in trials)
    grokked = Counter(t.configuration for t in trials if t.events.get("grok_step") is not None)
    return {configuration: grokked[configuration] / size for configuration, size in trials_of.items()}


def _rank(metric: Metric, shares: Mapping[int | None, float], trial: TrialState) -> tuple[float, ...]:
    """The best value of the metric first, for robustness its configuration's share; then, and among those that have
    none, the earliest grokking, the best held-out exact match, and the lowest held-out loss."""
    value = trial.tracker.grok_delay if metric.name == "grok_delay" else trial.events.get(metric.name)
    value = shares.get(trial.configuration) if metric.name == ROBUSTNESS else value
    value = trial.last_metrics.get(metric.name) if value is None else value
    sign = 1 if metric.goal == "minimize" else -1
    own = (1.0, 0.0) if value is None else (0.0, sign * float(value))
    grok_step = trial.events.get("grok_step")
    grokked = (1.0, 0.0) if grok_step is None else (0.0, float(grok_step))
    return (*own, *grokked, -trial.best.get("heldout_exact_match", 0.0), trial.best.get("heldout_loss", float("inf")))
