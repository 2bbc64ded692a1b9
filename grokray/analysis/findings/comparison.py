"""Classification against sequence and base against base; how long trials take from memorization to grokking."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.comparison import Comparison, compare_all, representations
from grokray.analysis.delay import Delays, Ungrokking, delays, ungrokking
from grokray.analysis.findings.finding import Finding, interval, missing, nothing_in, unique, without_silence
from grokray.analysis.findings.words import stated
from grokray.analysis.logrank import holm
from grokray.analysis.shares import Estimate
from grokray.events import UNGROK_ACCURACY
from grokray.wording import count

NAME, TITLE = "comparison", "Classification, sequence and bases"
DELAY_NAME, DELAY_TITLE = "delay", "From memorization to grokking"


def comparison(trials: pa.Table, level: float = 0.95, seed: int = 0) -> Finding:
    """Every representation of the task against the first one."""
    if len(set(representations(trials).tolist())) < 2:
        return missing(NAME, TITLE, "all trials write their task in the same way")
    found = compare_all(trials, confidence=level, seed=seed)
    adjusted = holm(np.array([one.p_value for one in found]))
    rows = [
        {
            "comparison": f"{one.b} against {one.a}",
            **interval("difference", one.difference),
            "p_value": one.p_value,
            "adjusted_p": p,
            **interval("median_ratio", one.median_ratio),
            **interval("ratio", one.ratio),
            **interval("earlier", one.earlier),
            "method": one.method,
            "pairs": one.pairs,
            "configurations": one.configurations,
            "reason": one.reason or "",
        }
        for one, p in zip(found, adjusted, strict=True)
    ]
    table = pd.DataFrame(rows)
    if nothing_in(table, "difference", "ratio"):
        return missing(NAME, TITLE, "no two representations can be compared yet", _notes(found, reasons=True))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"comparison": without_silence(_without_empty(table), "reason")},
        summary=_summary(found, adjusted, level),
        notes=_notes(found),
        level=level,
        estimates=found,
    )


@dataclass(frozen=True, kw_only=True)
class Delay:
    delays: Delays
    ungrokking: Ungrokking


def delay(trials: pa.Table, level: float = 0.95) -> Finding:
    """Quantiles of the steps from memorization to grokking, and the share that fell back afterwards."""
    found, fell = delays(trials, level=level), ungrokking(trials, level)
    if not found.grokked:
        return missing(DELAY_NAME, DELAY_TITLE, "no trial grokked after it had memorized")
    rows = [
        {"quantile": f"{100 * quantile:g} % have grokked", **interval("delay", _within_the_budget(estimate))}
        for quantile, estimate in found.quantiles.items()
    ]
    tables = {"delay": pd.DataFrame(rows)}
    if fell.trained_on:
        one = fell.shares
        share = {"share": one.share[0], "share_lower": one.lower[0], "share_upper": one.upper[0]}
        fall = f"fell below {UNGROK_ACCURACY:g}, or a lower threshold of their own, or diverged"
        tables["ungrokking"] = pd.DataFrame([{"of": f"grokked trials that {fall}", **share}])
    have = "has" if found.censored == 1 else "have"
    counts = (
        f"{count(found.grokked - found.negative, 'trial')} grokked after memorizing, {found.censored:,} {have} "
        f"memorized only, {found.never_memorized - found.grokked_alone:,} neither"
    )
    they = "it" if found.negative == 1 else "they"
    negative = f"{found.negative:,} grokked before {they} had memorized" if found.negative else None
    them = "it" if found.grokked_alone == 1 else "them"
    alone = f"{found.grokked_alone:,} grokked and never memorized: no delay has {them}" if found.grokked_alone else None
    apart = None if fell.trained_on else "trials end when they have grokked, so none can be seen to lose it again"
    return Finding(
        name=DELAY_NAME,
        title=DELAY_TITLE,
        tables=tables,
        summary=_delay_summary(found),
        notes=unique([counts, negative, alone, apart, *found.notes]),
        level=level,
        estimates=Delay(delays=found, ungrokking=fell),
    )


def _within_the_budget(estimate: Estimate) -> Estimate:
    """That fewer grokked than the quantile says is no delay without end."""
    return estimate if math.isfinite(estimate.value) else replace(estimate, value=float("nan"))


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    empty = [name for name in ("median_ratio", "ratio", "earlier") if nothing_in(table, name)]
    gone = [name + end for name in empty for end in ("", "_lower", "_upper")]
    gone += ["p_value", "adjusted_p"] if nothing_in(table, "p_value") else []
    gone += [] if any(table["configurations"].tolist()) else ["configurations"]
    return table.drop(columns=gone)


def _notes(found: list[Comparison], *, reasons: bool = False) -> tuple[str, ...]:
    """What is said of several comparisons alike stands once: `base 4, base 10 against classification: …`."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in found:
        start = f"{one.b} against {one.a}: "
        texts = ([start + one.reason] if reasons and one.reason else []) + list(one.notes)
        for text in filter(None, texts):
            alone = text.removeprefix(start)
            of = said.setdefault((one.a if alone != text else "", alone), [])
            of += [one.b] if one.b not in of else []
    return tuple(f"{', '.join(of)} against {a}: {text}" if a else text for (a, text), of in said.items())


def _summary(found: list[Comparison], adjusted: np.ndarray, level: float) -> str:
    """The largest difference that can be told from none among so many, by Holm's correction as in `effects.py`; that
    there is none is no news of what is not known."""
    if all(one.difference is None or math.isnan(one.difference.value) for one in found):
        return "No difference in the share grokked is known."
    certain = [one for one, p in zip(found, adjusted, strict=True) if one.difference and p < 1 - level]
    if not certain:
        unknown = sum(one.difference is None or math.isnan(one.difference.lower) for one in found)
        rest = f"; {unknown} of {len(found)} {'is' if unknown == 1 else 'are'} not known, or without an interval"
        return f"No difference in the share grokked can be told from none{rest if unknown else ''}."
    top = max(certain, key=lambda one: abs(one.difference.value) if one.difference else 0.0)
    d = top.difference
    value, low, high = (100 * x for x in (d.value, d.lower, d.upper)) if d else (np.nan,) * 3
    more = "more" if value > 0 else "less"
    low, high = sorted((abs(low), abs(high)))
    return f"{top.b} groks {more} often than {top.a}, by {abs(value):.1f} points ({low:.1f} to {high:.1f})."


def _delay_summary(found: Delays) -> str:
    """By half of the trials, or by as many as came so far."""
    reached = [quantile for quantile, estimate in found.quantiles.items() if math.isfinite(estimate.value)]
    if not reached:
        return ""
    quantile = min(reached, key=lambda quantile: abs(quantile - 0.5))
    steps = stated("steps", found.quantiles[quantile])
    return f"{100 * quantile:g} % of the trials that memorize grok within {steps} more steps."
