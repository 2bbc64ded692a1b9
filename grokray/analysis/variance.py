"""How much of the spread comes from the hyper-parameters and how much from chance, and from which chance.

Variance components of a random-effects model with the factors configuration (a point of the space of hyper-parameters)
and seeds, by the method of moments: half the mean squared difference of two trials that differ in exactly the factors D
estimates the sum of all components that D touches (Koch 1967, Technometrics 9; of a balanced one-way design that is the
analysis of variance). With C the configuration and S all seeds:

    both differ: total variance · only S: what a run with other seeds changes · total − only S: hyper-parameters
    total − only C: seeds, the same for every configuration (an easy split) · what is left: their interaction

What can be told apart is what the sweep varied apart. `seeds: [0, 1, 2]` sets all three seeds at once, so the sum of
what they do is known, and no part of it. Nothing is assumed to be normal; intervals leave out configurations in turn,
see `jackknifed`, with as many degrees of freedom as configurations tell what seeds change, in effect.

Of whether a trial groks the share of hyper-parameters is, but for a scale, the chance that a trial groks if another one
of its configuration does. Where few grok, intervals are no narrower than Wilson's of that chance, of as many pairs as
count in effect. The total variance is p (1 − p) of the share p that groks, and its interval no narrower than Wilson's
of p says. Of when they grok intervals are so, too, where most trials grokked at one measurement: it is whether another
one came first that varies then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa

from grokray.analysis import jackknifed
from grokray.analysis.intervals import student_quantile, wilson
from grokray.analysis.outcomes import Outcomes, column, grouped, outcomes
from grokray.analysis.pair_moments import CONFIGURATION, Factors, PairMoments
from grokray.analysis.shares import LEVEL, Estimate, shares
from grokray.trial import SEEDS
from grokray.wording import count

MIN_CONFIGURATIONS = 5  # for an interval: of 3 or 4, nothing tells how far chance goes
MOSTLY = 0.7  # of the trials with a value: if so many have the same one, it is as good as yes or no
MIN_PAIRED = 20  # configurations with pairs, in effect, for an interval of a sweep with audits
FEW_PAIRS = "no interval is known of whether a trial groks, as few pairs of audited trials stand for all pruned ones"
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Split:
    """`total`: the variance of one trial of a random configuration. `hyperparameters` and `seeds` are variances, and
    their `_share` of the total; moments can be below 0 by chance, and are not cut, but shares and their intervals are,
    to 0 and 1. `by_seed`: for each seed that varied apart, the variance that it changes by itself, interactions
    included, so they may add up to more than `seeds`. None, or NaN, is what cannot be told, which `notes` explain."""

    of: str
    total: Estimate
    hyperparameters: Estimate
    seeds: Estimate
    hyperparameters_share: Estimate
    seeds_share: Estimate
    common_to_configurations: Estimate | None
    interaction: Estimate | None
    by_seed: dict[str, Estimate]
    trials: int
    configurations: int
    notes: tuple[str, ...]


def variance_of_grokking(trials: pa.Table, *, level: float = LEVEL) -> Split | str:
    """The split of grokked within the budget, as 1 and 0. A Split, or a text that says why there is none."""
    found = outcomes(trials)
    count = expected_pairs(found)
    untold = f"{FEW_PAIRS}: {count:.0f} in effect, and {MIN_PAIRED} are needed" if count < MIN_PAIRED else ""
    values, weight = found.grokked * 1.0, found.once_each()
    least = partial(_by_pairs, values, weight, found.configuration, level)
    total = _total_by_share(found, weight, level)
    return _split("grokked", trials, found, values, weight, (), level, untold=untold, least=least, total=total)


def variance_of_step(trials: pa.Table, *, level: float = LEVEL) -> Split | str:
    """The split of the logarithm (base e) of grok_step, among trials that grokked. A Split, or a text as above.

    A configuration counts by the share of its trials that grokked: to divide by how many did would cancel the weights
    of audited ones, and make slow configurations, of which many were pruned, count too little.
    """
    found = outcomes(trials)
    keep = found.used & found.grokked
    step = np.log(np.maximum(np.where(keep, column(trials, "grok_step"), 1.0), 1.0))
    left = int((found.used & ~found.grokked).sum())
    notes = (f"of trials that grokked; {left} that did not are left out, and they are the slowest",) if left else ()
    weight = found.once_each() * keep
    least = _by_commonest(step, weight, found.configuration, level)
    return _split("log grok_step", trials, found, step, weight, notes, level, least=least)


def _by_pairs(
    values: np.ndarray, weight: np.ndarray, configuration: np.ndarray, level: float, share: float
) -> tuple[float, float]:
    """Wilson's interval about the `share` of hyper-parameters in the variance of `values` (n,), which are 0 and 1.

    With p the share of trials of the rarer value, it is (c − p) / (1 − p), where c is the chance that a trial has that
    value if another one of its configuration has. For `weight` (n,) and `configuration` (n,) see `_split`.
    """
    common = float(np.average(values, weights=weight))
    rare, p = (values, common) if common <= 0.5 else (1 - values, 1 - common)
    each, rarer = (np.bincount(configuration, weights=x)[configuration] for x in (weight, weight * rare))
    others = each - weight
    alike = np.divide(rarer - weight * rare, others, out=np.zeros_like(others), where=others > 0)
    found = shares(alike, weight * others * rare, configuration, np.zeros(len(values), int), 1, level)
    ends = wilson(min(max(p + share * (1 - p), 0.0), 1.0), float(found.effective[0]), level)
    lower, upper = (min(max((end - p) / (1 - p), 0.0), 1.0) for end in ends)
    return lower, upper


def _by_commonest(
    values: np.ndarray, weight: np.ndarray, configuration: np.ndarray, level: float
) -> Callable[[float], tuple[float, float]] | None:
    """As `_by_pairs`, of having another value than the commonest, where nearly all trials have that one."""
    each, place = np.unique(values[weight > 0], return_inverse=True)
    counts = np.bincount(place, weights=weight[weight > 0])
    if len(each) < 2 or counts.max() < MOSTLY * counts.sum():
        return None
    return partial(_by_pairs, (values != each[counts.argmax()]) * 1.0, weight, configuration, level)


def _total_by_share(found: Outcomes, weight: np.ndarray, level: float) -> tuple[float, float]:
    """The total variance of grokked as 1 and 0 is p (1 − p), so what Wilson's interval of p leaves is an interval of
    it: by configuration, of trials that count `weight` (n,)."""
    one = shares(found.grokked, weight, found.cluster, np.zeros(len(weight), int), 1, level, audited=found.is_audited)
    ends = np.array([one.lower[0], one.upper[0]])
    at_ends = ends * (1 - ends)
    return float(at_ends.min()), 0.25 if ends[0] <= 0.5 <= ends[1] else float(at_ends.max())


def expected_pairs(found: Outcomes) -> float:
    """How many configurations with pairs of trials count in effect, where audited trials stand for pruned ones: a pair
    of two stands for 1 / probability² others, so that a few of them may be all that tells what seeds change.

    Kish's number (Σq)² / Σq² of the sums q of the pairs of each configuration, but with what q and q² are on average,
    and not by chance: where no configuration has two audited trials all look alike, and the pairs that tell most are
    missing. In simulated sweeps intervals held the truth in 61 to 73 % where it was below 20, and else in 92 to 94 %.
    Infinite where no trial was audited.
    """
    if not found.audited:
        return float("inf")
    stopped = found.is_pruned | found.is_audited
    # By the weights of audited trials 1 / probability is known of the others too, on average.
    inverse = np.where(stopped, found.survival_weight[found.is_audited].mean(), 1.0) * found.stands_for
    n, first, second = (
        np.bincount(found.configuration, weights=x) for x in (found.stands_for * 1.0, inverse, inverse**2)
    )
    # Two pairs that share both trials, one, or none.
    squares = (first**2 - second) / 2 + (n - 1) * (n - 2) * first + n * (n - 1) * (n - 2) * (n - 3) / 4
    paired = n > 1
    pairs = n * (n - 1) / 2 / np.maximum(n, 1) ** 2
    total = (squares[paired] / n[paired] ** 4).sum()
    return float(pairs.sum() ** 2 / total) if total > 0 else 0.0


def _split(
    of: str,
    trials: pa.Table,
    found: Outcomes,
    values: np.ndarray,
    weight: np.ndarray,
    notes: tuple[str, ...],
    level: float,
    *,
    untold: str = "",
    least: Callable[[float], tuple[float, float]] | None = None,
    total: tuple[float, float] | None = None,
) -> Split | str:
    """`weight` (n,): 0 of trials that have no value; of one configuration they sum to about 1, or to the share of its
    trials that have a value. `untold`: why no interval can be told, where that is so. `least`: about what share of
    hyper-parameters there is, the interval that its own holds in any case; `total`: likewise of the total."""
    keep = weight > 0
    seeds, remarks = _seeds(trials.filter(pa.array(keep)))
    design = PairMoments({CONFIGURATION: found.configuration[keep], **seeds}, values[keep], weight[keep])
    if why := _nothing_to_split(design, values[keep], seeds):
        return f"{of}: {why}"
    whole = design.by_factors()
    nothing = _ROUNDING * max(whole.values(), default=0.0)
    point = _components(whole, seeds, nothing)
    if point is None:
        return f"{of}: no configuration has two trials with a value, so chance cannot be told from hyper-parameters"
    paired = design.paired(frozenset(seeds))
    untold = untold or _too_few(design.configurations, paired)
    kept = () if untold else jackknifed.left_out(design.configurations)
    moved = [_components(design.by_factors(one * 1.0), seeds, nothing) or {} for one in kept]
    critical = student_quantile(min(paired, len(moved)) - 1, level)
    ends = _ends(point, moved, critical, int(keep.sum()) / design.configurations)
    estimates = {
        name: Estimate(value=value, lower=ends[name][0], upper=ends[name][1], method=_METHOD)
        for name, value in point.items()
    }
    if least and not untold:
        _widen(estimates, least)
    if total and not untold:
        _reach(estimates, "total", *total, method=f"{_METHOD}, or Wilson by configuration")
    cuts = _cut_shares(estimates)
    by_seed = {name: estimates.pop(f"seed {name}") for name in seeds if f"seed {name}" in estimates}
    return Split(
        of=of,
        **{name: estimates.get(name) for name in _NAMES},  # pyright: ignore[reportArgumentType]
        by_seed=by_seed if len(seeds) > 1 else {},
        trials=int(keep.sum()),
        configurations=design.configurations,
        notes=(*notes, *remarks, *cuts, *_missing(estimates, seeds, by_seed, untold), *found.notes),
    )


def _nothing_to_split(design: PairMoments, values: np.ndarray, seeds: dict[str, np.ndarray]) -> str | None:
    if design.configurations < 2:
        return f"{count(design.configurations, 'configuration')} with a value, but two are needed"
    if np.ptp(values) == 0:
        return f"it is the same in all {len(values):,} trials, so there is no variance to split"
    if not seeds:
        return "each configuration has one trial, so chance cannot be told from hyper-parameters"
    return None


_ROUNDING = 1e-12
_METHOD = "moments, jackknife by configuration"
_NO_NARROWER = f"{_METHOD}, or Wilson by pairs"
_NAMES = (
    *("total", "hyperparameters", "seeds", "hyperparameters_share", "seeds_share"),
    *("common_to_configurations", "interaction"),
)


def _components(moments: dict[Factors, float], seeds: dict[str, np.ndarray], nothing: float) -> dict[str, float] | None:
    """From half mean squared differences to components; None without two trials of one configuration. What is smaller
    than `nothing` is 0."""
    moments = _rounded(moments, nothing)
    every, alone = frozenset(seeds), [frozenset([name]) for name in seeds]
    within, total = moments.get(every), moments.get(every | {CONFIGURATION})
    other = moments.get(frozenset([CONFIGURATION]))
    if within is None and all(one in moments for one in alone):
        within, total = _one_at_a_time(moments, alone)
    if within is None or total is None:
        return None
    found = {"total": total, "hyperparameters": total - within, "seeds": within}
    if other is not None and every in moments:
        found |= {"common_to_configurations": total - other, "interaction": within - (total - other)}
    found = _rounded(found, nothing)
    total = found["total"]
    found |= {f"{name}_share": found[name] / total if total > 0 else np.nan for name in ("hyperparameters", "seeds")}
    return found | {f"seed {name}": moments[one] for name, one in zip(seeds, alone, strict=True) if one in moments}


def _too_few(configurations: int, paired: float) -> str:
    """Why no interval is known of so many configurations, `paired` of which tell in effect what seeds change; empty
    where one is."""
    few = f"no interval is known of fewer than {MIN_CONFIGURATIONS} configurations"
    if configurations < MIN_CONFIGURATIONS:
        return f"{few}; here are {configurations}"
    if paired < MIN_CONFIGURATIONS * (1 - _ROUNDING):
        return f"{few} with two values or more; here are {paired:.1f} in effect"
    return ""


def _ends(
    point: Mapping[str, float], moved: Sequence[Mapping[str, float]], critical: float, trials: float
) -> dict[str, jackknifed.Ends]:
    """Of each of `point`; `moved` are the components without each block, `trials` how many a configuration has."""
    without = {name: np.array([one.get(name, np.nan) for one in moved]) for name in point}
    if not moved:
        return dict.fromkeys(point, (float("nan"), float("nan")))
    ends = {
        name: jackknifed.of_variance(point[name], without[name], critical)
        for name in point
        if name in ("total", "seeds") or name.startswith("seed ")
    }
    parts = {name: (point[name], ends[name], without[name]) for name in ("total", "seeds")}
    ends["hyperparameters"] = jackknifed.of_difference(parts["total"], parts["seeds"])
    if (common := "common_to_configurations") in point:
        half = critical * jackknifed.error(without[common])
        ends[common] = (point[common] - half, point[common] + half) if half > 0 else (np.nan, np.nan)
        ends["interaction"] = jackknifed.of_difference(parts["seeds"], (point[common], ends[common], without[common]))
    share = jackknifed.of_share(point["hyperparameters_share"], without["hyperparameters_share"], critical, trials)
    return ends | {"hyperparameters_share": share, "seeds_share": (1 - share[1], 1 - share[0])}


def _rounded(values: Mapping[Key, float], nothing: float) -> dict[Key, float]:
    """Differences of equal numbers are 0, whatever rounding leaves of them."""
    return {key: 0.0 if abs(value) < nothing else value for key, value in values.items()}


def _widen(estimates: dict[str, Estimate], least: Callable[[float], tuple[float, float]]) -> None:
    """Bring the intervals of hyper-parameters and seeds, and of their shares, to the `least` ones, in place."""
    share, total = estimates["hyperparameters_share"].value, estimates["total"]
    if np.isnan(share):
        return
    lower, upper = least(share)
    for name, low, high in (("hyperparameters", lower, upper), ("seeds", 1 - upper, 1 - lower)):
        _reach(estimates, f"{name}_share", low, high)
        _reach(estimates, name, low * total.lower, high * total.upper)


def _reach(estimates: dict[str, Estimate], name: str, lower: float, upper: float, method: str = _NO_NARROWER) -> None:
    one = estimates[name]
    ends = {"lower": float(np.fmin(one.lower, lower)), "upper": float(np.fmax(one.upper, upper))}
    estimates[name] = dataclasses.replace(one, **ends, method=method)


def _cut_shares(estimates: dict[str, Estimate]) -> list[str]:
    """Bring shares and their intervals within 0 and 1, in place; what a reader should know of it."""
    notes = []
    for name in ("hyperparameters_share", "seeds_share"):
        share = estimates[name]
        if np.isnan(share.value):
            estimates[name] = dataclasses.replace(share, lower=np.nan, upper=np.nan)
            notes.append("moments put the whole variance at 0 or below, so shares of it cannot be told")
            continue
        numbers = np.array([share.value, share.lower, share.upper])
        value, lower, upper = np.clip(numbers, 0, 1).tolist()
        if lower == upper:  # all of the interval lies beyond an end, and its one point would look like certainty
            value = lower = upper = np.nan
            notes.append("moments put all of the interval of a share below 0 or above 100 %, so it cannot be told")
        elif not np.array_equal([value, lower, upper], numbers, equal_nan=True):
            notes.append("shares of the variance and their intervals are cut to 0 and 100 %: moments may go beyond")
        estimates[name] = dataclasses.replace(share, value=value, lower=lower, upper=upper)
    return list(dict.fromkeys(notes))


def _one_at_a_time(moments: dict[Factors, float], alone: list[Factors]) -> tuple[float, float | None]:
    """Within and total where no two trials differ in all seeds: as if seeds did not interact with each other."""
    within, configuration = sum(moments[one] for one in alone), frozenset([CONFIGURATION])
    if configuration not in moments or any(one | configuration not in moments for one in alone):
        return within, None
    other = moments[configuration]
    interactions = sum(other + moments[one] - moments[one | configuration] for one in alone)
    return within, other - interactions + within


def _seeds(trials: pa.Table) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The seeds that vary, those that always vary together as one, and what that hides."""
    columns = {name: grouped([column(trials, name)], trials.num_rows) for name in SEEDS}
    varied = {name: levels for name, levels in columns.items() if levels.max(initial=0) > 0}
    together: dict[bytes, list[str]] = {}
    for name, levels in varied.items():
        first = np.unique(levels, return_index=True, return_inverse=True)
        together.setdefault(np.argsort(np.argsort(first[1]))[first[2]].tobytes(), []).append(name)
    joined = {" + ".join(names): varied[names[0]] for names in together.values()}
    remarks = [
        f"{', '.join(names)} always change together: what each of them does cannot be told"
        for names in together.values()
        if len(names) > 1
    ]
    fixed = [name for name in SEEDS if name not in varied]
    if fixed:
        remarks.append(f"{', '.join(fixed)} never change: what they would do is not in the variance of seeds")
    return joined, tuple(remarks)


def _missing(
    estimates: dict[str, Estimate], seeds: dict[str, np.ndarray], by_seed: dict[str, Estimate], untold: str
) -> list[str]:
    notes = []
    if any(np.isnan(one.lower) and not np.isnan(one.value) for one in (*estimates.values(), *by_seed.values())):
        agree = "where the ends of an interval are ?, configurations agree, or one alone tells it: no spread is known"
        notes.append(untold or agree)
    if len(seeds) > 1 and "interaction" not in estimates and by_seed.keys() == seeds.keys():
        notes.append("where no two trials differ in all seeds, seeds are taken not to interact with each other")
    elif "interaction" not in estimates:
        notes.append(
            "no two configurations share a seed, or all share all of them: what seeds do to every configuration alike "
            "cannot be told from what they do to each"
        )
    for name in seeds:
        if len(seeds) > 1 and name not in by_seed:
            notes.append(f"no two trials differ in {name} alone: what it does by itself cannot be told")
    return notes
