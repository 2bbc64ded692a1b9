"""When trials grok: Kaplan and Meier's share grokked by a step, overall and by parameters, and log-rank tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.findings.finding import Finding, interval, missing, unique, without_silence
from grokray.analysis.findings.groups import MOST_PAIRS, Groups, groups_by, groups_of_parameters
from grokray.analysis.findings.words import between
from grokray.analysis.logrank import holm, log_rank, pairwise
from grokray.analysis.outcomes import NOBODY, Outcomes, column, diverged, outcomes
from grokray.analysis.survival import SurvivalCurve, kaplan_meier, median_time, restricted_mean, share_by
from grokray.analysis.times import Times, times_of
from grokray.analysis.turnbull import turnbull
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.wording import counted, names_apart
from grokray.wording import percent

NAME, TITLE = "survival", "Time to grok"
LEARNED = (
    "tpe chose configurations by what came of others: groups differ in more than their parameter, and their shares and "
    "times may be another's doing; p is of configurations that were proposed one after the other, and effects hold the "
    "other parameters fixed"
)


@dataclass(frozen=True, kw_only=True)
class Survival:
    """`overall` and each group's curve of not having grokked, to step `horizon`; of groups whose share is known."""

    horizon: float
    overall: SurvivalCurve
    groups: dict[str, dict[str, SurvivalCurve]]


def survival(
    trials: pa.Table, by: str | Sequence[str] | None = None, level: float = 0.95, *, learned: bool = False
) -> Finding:
    """Overall and by a column, or several together, or each that varies. `learned`: see `Sweeps.learned`."""
    chosen, left_out = groups_of_parameters(trials) if by is None else ([groups_by(trials, by)], [])
    times = times_of(trials)
    counted = times.counted()
    if not len(counted) or counted.seen_until.max() <= 0:
        return missing(NAME, TITLE, "no trial was measured yet")
    horizon = horizon_of(trials, counted)
    tables = {"overall": pd.DataFrame([_row({}, times, horizon, level)])}
    found = outcomes(trials)
    rows = [
        _row({"parameter": groups.name, "value": label}, times.select(mask), horizon, level, found.unrepresented(mask))
        for groups in chosen
        for label, mask in _members(groups)
    ]
    if rows:
        tables["groups"] = pd.DataFrame(rows)
        tables["tests"] = _tests(times, chosen, found, learned)
    if by and 2 < len(chosen[0].labels) <= MOST_PAIRS:
        tables["pairs"] = _pairs(times, chosen[0], found, learned)
    curves = {
        g.name: {
            label: kaplan_meier(times.select(mask), level, horizon)
            for label, mask in _members(g)
            if not found.unrepresented(mask)
        }
        for g in chosen
    }
    return Finding(
        name=NAME,
        title=TITLE,
        tables=tables,
        summary=_summary(tables["overall"].to_dict("records")[0], horizon),
        notes=unique(
            [
                *(scheduler_audit(trials).warning, _pruned(found, tables), _diverged(trials), _without_ends(tables)),
                LEARNED if learned and rows else None,
                *left_out,
            ]
        ),
        level=level,
        estimates=Survival(horizon=horizon, overall=kaplan_meier(times, level, horizon), groups=curves),
    )


def horizon_of(trials: pa.Table, times: Times) -> float:
    """The smallest budget, up to which every trial may be watched; less where none was watched for so long yet."""
    return float(min(np.nanmin(column(trials, "num_steps")), times.seen_until.max()))


def _members(groups: Groups) -> list[tuple[str, np.ndarray]]:
    members = [(label, groups.group == number) for number, label in enumerate(names_apart(groups.labels))]
    return [(label, mask) for label, mask in members if mask.any()]


def _row(keys: dict[str, str], times: Times, horizon: float, level: float, unrepresented: int = 0) -> dict:
    counted = times.counted()
    reached = min(horizon, counted.seen_until.max()) if len(counted) else horizon
    share = median = mean = None
    if not unrepresented:
        share, median = share_by(times, reached, level), median_time(kaplan_meier(times, level))
        mean = restricted_mean(times, horizon, level)
        mean = mean if not np.isnan(mean.value) else restricted_mean(times, reached, level)
    return {
        **keys,
        **interval("share", share),
        **interval("median", median),
        "trials": len(times),
        "grokked": int(times.observed.sum()),
        "horizon": reached,
        "median_within": "" if unrepresented else _median_within(counted),
        **interval("mean_steps", mean),
    }


def _median_within(times: Times) -> str:
    """Turnbull's interval that holds the median."""
    if not len(times):
        return ""
    left, right = turnbull(times).median
    return "" if np.isinf(right) else f"({left:,.0f}, {right:,.0f}]"


def _tests(times: Times, chosen: list[Groups], found: Outcomes, learned: bool) -> pd.DataFrame:
    rows = []
    for groups in chosen:
        mask = groups.group >= 0
        test = log_rank(times.select(mask), groups.group[mask], learned=learned)
        if any(found.unrepresented(members) for _, members in _members(groups)):
            test = replace(test, statistic=np.nan, p_value=np.nan, note=NOBODY)
        rows.append(
            {
                "parameter": groups.name,
                "statistic": test.statistic,
                "degrees": test.degrees,
                "p_value": test.p_value,
                "note": test.note or "",
            }
        )
    table = pd.DataFrame(rows)
    table.insert(4, "adjusted_p", holm(table["p_value"].to_numpy(float)))
    return without_silence(table, "note")


def _pairs(times: Times, groups: Groups, found: Outcomes, learned: bool) -> pd.DataFrame:
    known = [n for n in range(len(groups.labels)) if not found.unrepresented(groups.group == n)]
    mask, labels = np.isin(groups.group, known), names_apart(groups.labels)
    return pd.DataFrame(
        {
            "first": labels[pair.first],  # pyright: ignore[reportArgumentType, reportCallIssue]
            "second": labels[pair.second],  # pyright: ignore[reportArgumentType, reportCallIssue]
            "statistic": pair.test.statistic,
            "p_value": pair.test.p_value,
            "adjusted_p": pair.adjusted,
        }
        for pair in pairwise(times.select(mask), groups.group[mask], learned=learned)
    )


def _summary(row: Mapping[str, Any], horizon: float) -> str:
    share, lower, upper = (percent(row[name]) for name in ("share", "share_lower", "share_upper"))
    if np.isnan(row["share"]):
        return ""
    text = f"{share} of trials grok within {horizon:,.0f} steps ({between(lower, upper)})"
    if np.isnan(row["median"]):
        return f"{text}; fewer than half do, so there is no median."
    return f"{text}; half have by step {row['median']:,.0f}."


def _pruned(found: Outcomes, tables: Mapping[str, pd.DataFrame]) -> str | None:
    represented = found.pruned - found.lost
    if not represented:
        return None
    nothing = counted(represented, "pruned trial", "counts", "count")
    stand = counted(found.audited, "audited one", "stands", "stand")
    note = f"{nothing} nothing: {stand} for {'it' if represented == 1 else 'them'}"
    unknown = "groups" in tables and bool(tables["groups"]["share"].isna().any())
    return f"{note}, and no share is known of groups in which none was audited" if unknown else note


def _without_ends(tables: Mapping[str, pd.DataFrame]) -> str | None:
    parts = [tables[name] for name in ("overall", "groups") if name in tables]
    if not any((part["mean_steps"].notna() & part["mean_steps_lower"].isna()).any() for part in parts):
        return None
    return "where the ends of a mean are ?, one configuration or none grokked by the horizon, or all at one step"


def _diverged(trials: pa.Table) -> str | None:
    number = int(diverged(trials).sum())
    if not number:
        return None
    if number == 1:
        return "1 diverged: it counts as not grokked to the end of its budget, not to where it diverged"
    return f"{number:,} diverged: they count as not grokked to the end of their budget, not to where they diverged"
