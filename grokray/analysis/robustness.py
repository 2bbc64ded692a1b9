"""How robust grokking is: the share of the search space in which a trial groks within its budget.

One number with an interval, profiles along each parameter, and the chance of grokking of each configuration over its
seeds. Each configuration counts once, however many seeds it has.

*Even* sweeps (random, Sobol) lie in the space in its own measure, so the share is a weighted mean; where points come up
twice see `drawn`. A whole *grid* is weighed by how likely an even draw of the space's values is. TPE's trials, and a
grid that was cut short, are not even: there the share is estimated by a model (see `neighbours`), and `adaptive` is
True. The interval of a mean is Wilson's, by configuration (see `shares`): a bootstrap of 20 configurations with one
grokker ends below that of 20 without. The model's is a percentile bootstrap that draws configurations, but never
narrower than Wilson's; `over_seeds` draws seeds as well (the pigeonhole bootstrap: Owen 2007, Annals of Applied
Statistics 1), for what other seeds would have shown. Of a grid all are too wide if no other values are meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from grokray.analysis.intervals import wilson
from grokray.analysis.made_columns import made_of
from grokray.analysis.neighbours import Neighbours
from grokray.analysis.outcomes import Outcomes, outcomes
from grokray.analysis.profiles import Profile, Sample, profile_of_column, profile_of_mean, profile_of_model
from grokray.analysis.shares import LEVEL, REPLICATES, Estimate, Shares, mean_of_known, percentiles, resampled, shares
from grokray.analysis.space import Space, space_of_trials
from grokray.wording import count

_MODEL_REPLICATES = 200
_MEAN = "weighted mean, Wilson by configuration"
_MEAN_OF_ONE = "weighted mean, Wilson by seed"
_MEAN_AT_ONE = "weighted mean of one configuration"
LONE = (
    "all trials are of one configuration: what its seeds vary by says nothing of the rest of the search space, so its "
    "share has no interval"
)
_MODEL = "nearest neighbours, the wider of bootstrap and Wilson by configuration"
_AND_SEED = "bootstrap by configuration and seed, no narrower than by configuration"


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """`share` of the space, its interval by configuration, without ends where all trials are of one out of many;
    `over_seeds` None where there is one seed only, or where no two configurations share a seed. `at_least`: the share
    if no pruned trial had grokked that no audited one stands for; None of a model, and where there is none such.
    `effective`: as many evenly drawn configurations."""

    share: Estimate
    over_seeds: Estimate | None
    at_least: Estimate | None
    adaptive: bool
    trials: int
    configurations: int
    effective: float
    profiles: list[Profile]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ByConfiguration:
    """Arrays of one entry a configuration, in rising order: how many of its trials `trials` grokked, and the chance
    of it with Wilson's interval, which of three seeds is wide. NaN where no trial was decided."""

    configuration: np.ndarray
    shares: Shares

    def agreement(self) -> dict[str, int]:
        """How many configurations grokked with all, some or none of two or more seeds."""
        share = self.shares.share[self.shares.trials > 1]
        return {
            "all": int((share == 1).sum()),
            "some": int(((share > 0) & (share < 1)).sum()),
            "none": int((share == 0).sum()),
        }


def robustness(
    trials: pa.Table,
    space: Space | None = None,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> Robustness:
    """Of TRIALS_SCHEMA. `space` defaults to what the values of the trials suggest, taken to be sampled evenly."""
    space = space_of_trials(trials) if space is None else space
    sample = Sample.of(trials, space)
    rng = np.random.default_rng(seed)
    build = _by_model if sample.adaptive else _by_mean
    share, over_seeds, effective, profiles, notes = build(sample, replicates, level, rng)
    made = [name for name in made_of(trials) if len(trials[name].unique()) > 1]
    if sample.adaptive and made:
        notes = (*notes, f"no profile along {', '.join(made)}: the model knows the search space alone")
    elif made:
        profiles = [*(profile_of_column(sample, trials, name, level) for name in made), *profiles]
    found = sample.found
    return Robustness(
        share=share,
        over_seeds=over_seeds,
        at_least=_at_least(sample, level),
        adaptive=sample.adaptive,
        trials=int(found.used.sum()),
        configurations=int((sample.per_configuration(sample.mass) > 0).sum()),
        effective=effective,
        profiles=profiles,
        notes=(*notes, *space.notes, *found.notes),
    )


def by_configuration(trials: pa.Table, level: float = LEVEL) -> ByConfiguration:
    """The chance of grokking over seeds, configuration by configuration."""
    found = outcomes(trials)
    cells = int(found.configuration.max(initial=-1)) + 1
    each = np.arange(trials.num_rows)
    return ByConfiguration(
        configuration=np.unique(trials["configuration"].to_numpy()),
        shares=shares(found.grokked, found.weight, each, found.configuration, cells, level),
    )


Built = tuple[Estimate, Estimate | None, float, list[Profile], tuple[str, ...]]


def _by_mean(sample: Sample, replicates: int, level: float, rng: np.random.Generator) -> Built:
    mass, found = sample.per_cluster(sample.mass), sample.found
    method = _MEAN if found.configuration.any() else _MEAN_OF_ONE
    share = _of_space(sample, weighted_share(found, found.grokked, sample.mass, level, method))
    with np.errstate(invalid="ignore", divide="ignore"):
        both = sample.seeds_drawn(sample.mass), sample.seeds_drawn(sample.hits)
        over = None
        if both[0] is not None and both[1] is not None:
            twice = zip(
                resampled(len(mass), replicates, rng), resampled(both[0].shape[1], replicates, rng), strict=True
            )
            over = np.array([(r @ both[1] @ s) / (r @ both[0] @ s) for r, s in twice])
        effective = float(mass.sum() ** 2 / (mass**2).sum())
    profiles = [profile_of_mean(sample, number, level) for number in range(len(sample.space.axes))]
    notes = (LONE,) if sample.is_lone else ()
    return share, _bootstrapped(over, share, level, f"weighted mean, {_AND_SEED}"), effective, profiles, notes


def _by_model(sample: Sample, replicates: int, level: float, rng: np.random.Generator) -> Built:
    mass, hits = sample.per_configuration(sample.mass), sample.per_configuration(sample.hits)
    known = mass > 0
    first = np.unique(sample.found.configuration, return_index=True)[1]
    if not known.any():
        nothing = Estimate(value=np.nan, lower=np.nan, upper=np.nan, method=_MODEL)
        return nothing, None, 0.0, [], ("no trial says anything yet",)
    model = Neighbours(sample.space, sample.points[first][known], mass[known], hits[known])
    replicates = min(replicates, _MODEL_REPLICATES)
    drawn = np.stack([model.shares(r) for r in resampled(int(known.sum()), replicates, rng)])
    both, over = (sample.seeds_drawn(sample.mass), sample.seeds_drawn(sample.hits)), None
    if both[0] is not None and both[1] is not None:
        at_mass, at_hits = both[0][known], both[1][known]
        twice = zip(resampled(len(at_mass), replicates, rng), resampled(at_mass.shape[1], replicates, rng), strict=True)
        over = np.array([mean_of_known(model.shares(r, at_mass @ s, at_hits @ s)) for r, s in twice])
    value = float(model.shares().mean())
    profiles = [profile_of_model(sample, model, number, drawn, level) for number in range(len(sample.space.axes))]
    note = (
        "the trials do not lie evenly in the space: shares are of a model, the mean of the nearest "
        f"{count(model.k, 'configuration')} at {len(model.even):,} even points; its own error, mostly upwards, is not "
        "in the intervals, and profiles are flatter than the truth"
    )
    lower, upper = wilson(value, model.effective, level)
    least = Estimate(value=value, lower=lower, upper=upper, method=_MODEL)
    share = _bootstrapped(mean_of_known(drawn), least, level, _MODEL) or least
    over = _bootstrapped(over, share, level, f"nearest neighbours, {_AND_SEED}")
    return share, over, model.effective, profiles, (note,)


def _bootstrapped(drawn: np.ndarray | None, least: Estimate, level: float, method: str) -> Estimate | None:
    """`least` with the interval of what was drawn, where that is wider: resamples of few configurations, or of such as
    agree, know nothing of what was not seen. None where nothing was drawn."""
    if drawn is None:
        return None
    lower, upper = percentiles(drawn, level)
    return replace(
        least, lower=float(np.fmin(lower, least.lower)), upper=float(np.fmax(upper, least.upper)), method=method
    )


def _at_least(sample: Sample, level: float) -> Estimate | None:
    """The share with every pruned trial counted as not grokked, but those that were seen to, of an even sweep; None of
    others."""
    found = sample.found
    if sample.volume is None or not found.lost:
        return None
    weight = found.once_each(np.where(found.is_lost, 1.0, found.weight)) * sample.volume
    share = weighted_share(found, found.grokked, weight, level, f"pruned trials as not grokked, {_MEAN}")
    return _of_space(sample, share)


def _of_space(sample: Sample, share: Estimate) -> Estimate:
    """Where one point of many was tried, how seeds vary is no interval of the space."""
    return replace(share, lower=np.nan, upper=np.nan, method=_MEAN_AT_ONE) if sample.is_lone else share


def weighted_share(found: Outcomes, success: np.ndarray, weight: np.ndarray, level: float, method: str) -> Estimate:
    """Of the trials where `success` (n,) is True, by `weight` (n,), with its interval by configuration."""
    one = shares(success, weight, found.cluster, np.zeros(len(weight), np.int64), 1, level, audited=found.is_audited)
    return Estimate(value=float(one.share[0]), lower=float(one.lower[0]), upper=float(one.upper[0]), method=method)
