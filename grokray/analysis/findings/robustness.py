"""How robust grokking is: the share of the search space that groks, and along each parameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.findings.words import between, stated
from grokray.analysis.outcomes import FEW_PRUNED, outcomes
from grokray.analysis.robustness import LONE, ByConfiguration, Robustness, by_configuration
from grokray.analysis.robustness import robustness as robustness_of
from grokray.analysis.sweeps import Sweeps
from grokray.wording import count, percent

NAME, TITLE = "robustness", "Robustness"
UNKNOWN_VALUES = "no share is known of values of which trials were pruned and none was audited, or of which none counts"
UNKNOWN_SEEDS = "how many configurations grok with all or some of their seeds is not known, as seeds were pruned"


def robustness(sweeps: Sweeps, level: float = 0.95, replicates: int = 500, seed: int = 0) -> Finding:
    """`estimates` is (Robustness, ByConfiguration)."""
    found = robustness_of(sweeps.trials, sweeps.space(), replicates=replicates, level=level, seed=seed)
    if np.isnan(found.share.value):
        return missing(NAME, TITLE, "no trial has been watched to its end", found.notes)
    of = "one configuration" if LONE in found.notes else "search space"
    rows = [{"of": of, **interval("share", found.share), "method": found.share.method}]
    if found.over_seeds is not None:
        rows.append({"of": "and other seeds", **interval("share", found.over_seeds), "method": found.over_seeds.method})
    each, fate = by_configuration(sweeps.trials, level), outcomes(sweeps.trials)
    tables = {"share": pd.DataFrame(rows), "profiles": _profiles(found)}
    agree, is_thinned = _seeds(each), fate.pruned > FEW_PRUNED * sweeps.trials.num_rows
    tables["seeds"] = pd.DataFrame() if is_thinned else agree
    return Finding(
        name=NAME,
        title=TITLE,
        tables={name: table for name, table in tables.items() if len(table)},
        summary=headline(found, level),
        notes=unique(
            [
                *found.notes,
                UNKNOWN_VALUES if fate.audited and any(np.isnan(p.share).any() for p in found.profiles) else None,
                UNKNOWN_SEEDS if is_thinned and len(agree) else None,
            ]
        ),
        level=level,
        estimates=(found, each),
    )


def headline(found: Robustness, level: float) -> str:
    """Grokking happens within the budget in 43.1 % of the search space (95 % interval 38.0 to 48.9 %; …)."""
    share, lower, upper = (percent(value) for value in (found.share.value, found.share.lower, found.share.upper))
    counted = f"{count(found.trials, 'trial')} of {count(found.configurations, 'configuration')}"
    if LONE in found.notes:
        return f"Grokking happens within the budget in {share} of the trials, all of one configuration ({counted})."
    text = f"Grokking happens within the budget in {share} of the search space"
    if np.isnan(found.share.lower):
        return f"{text} (no interval; {counted})."
    text += f" ({100 * level:g} % interval {between(lower, upper)}; {counted})"
    if found.at_least is not None:
        return f"{text}; in {stated('share', found.at_least)} if no pruned trial would have grokked."
    return f"{text}."


def _seeds(each: ByConfiguration) -> pd.DataFrame:
    """Of configurations with two or more seeds; no rows where there is none."""
    seeds = each.shares.trials[each.shares.trials > 1]
    if not len(seeds):
        return pd.DataFrame()
    few, most = seeds.min(), seeds.max()
    of = f"{most}" if few == most else f"{few} to {most}"
    return pd.DataFrame(
        {"seeds_that_grokked": name, "of": of, "configurations": number} for name, number in each.agreement().items()
    )


def _profiles(found: Robustness) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "parameter": profile.name,
            "value": label,
            "share": profile.share[number],
            "share_lower": profile.lower[number],
            "share_upper": profile.upper[number],
            "configurations": int(profile.configurations[number]),
        }
        for profile in found.profiles
        for number, label in _in_order(profile.labels)
    )


def _in_order(labels: Sequence[str]) -> list[tuple[int, str]]:
    """Choices that are numbers by their size, as along an axis, however the search space lists them."""
    numbered = list(enumerate(labels))
    try:
        return sorted(numbered, key=lambda one: float(one[1]))
    except ValueError:
        return numbered
