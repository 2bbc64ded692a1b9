"""What each parameter does to the time to grok: accelerated failure time, and Cox's model as a second view.

Ten events for each coefficient: Peduzzi, P., Concato, J., Feinstein, A. R., and Holford, T. R. (1995). Importance of
events per independent variable in proportional hazards regression analysis II. Journal of Clinical Epidemiology 48,
1503-1510.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.aft import AftFit, best_aft
from grokray.analysis.bends import EVENTS_PER_COEFFICIENT, bends
from grokray.analysis.cox import CoxFit, fit_cox
from grokray.analysis.design import Design, design_of
from grokray.analysis.effects import Effect, not_estimable
from grokray.analysis.findings.finding import Finding, missing, unique, without_silence
from grokray.analysis.findings.words import number
from grokray.analysis.logrank import holm
from grokray.analysis.outcomes import NOBODY, Outcomes, diverged, outcomes
from grokray.analysis.times import times_of
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.wording import counted
from grokray.wording import count

NAME, TITLE = "effects", "Effects of parameters"
FAMILY_NAMES = {"lognormal": "log-normal", "weibull": "Weibull"}


@dataclass(frozen=True, kw_only=True)
class Effects:
    """`aft` is the better by AIC of the two families, `other` the other one."""

    aft: AftFit
    other: AftFit
    cox: CoxFit
    design: Design


def effects(trials: pa.Table, level: float = 0.95) -> Finding:
    design, times = design_of(trials), times_of(trials, while_training=True)
    if not design.names:
        return missing(NAME, TITLE, "no parameter varies among the trials", _left_out(design))
    fit, other = best_aft(times, design, level)
    if fit.failure:
        return missing(NAME, TITLE, fit.failure, _left_out(design))
    cox = fit_cox(times, design, level=level)
    uneven = bends(times, design, fit)
    unknown = _unrepresented(design, outcomes(trials))
    fit = replace(fit, effects=_without(fit.effects, unknown))
    cox = replace(cox, effects=_without(cox.effects, unknown))
    tables = {
        "time_ratios": _table(fit.effects, "time_ratio"),
        "hazard_ratios": _table(cox.effects, "hazard_ratio"),
    }
    certain = f"{counted(fit.certain, 'trial', 'says', 'say')} only that an effect cannot be told"
    notes = [
        _model(fit, other),
        _few_events(fit),
        _means_of_ranges(uneven),
        certain if fit.certain else None,
        f"hazard ratios: {cox.failure}" if cox.failure else None,
        _diverged(trials),
        *_left_out(fit),
        scheduler_audit(trials).warning,
    ]
    return Finding(
        name=NAME,
        title=TITLE,
        tables={name: table for name, table in tables.items() if len(table)},
        summary=" ".join(filter(None, [_summary(fit.effects, level), _uneven(uneven)])),
        notes=unique(notes),
        level=level,
        estimates=Effects(aft=fit, other=other, cox=cox, design=design),
    )


def _model(fit: AftFit, other: AftFit) -> str:
    text = f"time ratios: {FAMILY_NAMES[fit.family]} accelerated failure time"
    text += f", {count(fit.trials, 'trial')} of which {fit.events:,} grokked"
    if not other.failure:
        text += f"; its AIC is {other.aic - fit.aic:.1f} below that of the {FAMILY_NAMES[other.family]} one"
    return text


def _unrepresented(design: Design, found: Outcomes) -> frozenset[str]:
    """Columns that are 0 or 1 of which one side has pruned trials and no audited one: what is left of it did well
    early."""
    return frozenset(
        name
        for name, indicator, column in zip(design.names, design.indicator, design.matrix.T, strict=True)
        if indicator and any(found.unrepresented(side) for side in (column == 1, column == 0))
    )


def _without(found: Sequence[Effect], names: frozenset[str]) -> tuple[Effect, ...]:
    return tuple(
        not_estimable(one.name, one.label, one.reason or NOBODY) if one.name in names else one for one in found
    )


def _diverged(trials: pa.Table) -> str | None:
    """At risk to the end of their budget, one in a hundred would draw all ratios to 1: they do not grok however good
    their parameters are."""
    lost = int(diverged(trials).sum())
    if not lost:
        return None
    text = counted(lost, "trial", "diverged, and counts", "diverged, and count")
    return f"{text} up to there: effects are those on trials that train; which diverge is told by the phases"


def _uneven(found: Mapping[str, float]) -> str:
    return f"The time does not change evenly along {' and '.join(found)}." if found else ""


def _means_of_ranges(found: Mapping[str, float]) -> str | None:
    if not found:
        return None
    shown = {name: number(p, "p") for name, p in found.items()}
    tests = ", ".join(f"{name}, p {p if '<' in p else f'= {p}'}" for name, p in shown.items())
    return (
        f"a parabola fits better than a line ({tests}): a ratio is a mean over what was tried, the profiles show more"
    )


def _few_events(fit: AftFit) -> str | None:
    """With fewer, intervals hold the truth more seldom than they say, and the two models may contradict each other."""
    size = len(fit.names)
    if fit.events >= EVENTS_PER_COEFFICIENT * size:
        return None
    few = f"only {count(fit.events, 'trial')} grokked, for {count(size, 'effect')}"
    return f"{few}: with fewer than {EVENTS_PER_COEFFICIENT} for each neither intervals nor p can be relied on"


def _table(found: Sequence[Effect], ratio: str) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "effect_of": effect.label,
            ratio: effect.ratio,
            f"{ratio}_lower": effect.lower,
            f"{ratio}_upper": effect.upper,
            "p_value": effect.p_value,
            "reason": effect.reason or "",
        }
        for effect in found
    )
    return without_silence(table, "reason")


def _summary(found: Sequence[Effect], level: float) -> str:
    """The surest effect, where it can be told from none among so many: by Holm's correction, as in `logrank.py`."""
    if all(effect.reason for effect in found):
        return "No effect can be estimated from these trials."
    adjusted = holm(np.array([effect.p_value for effect in found]))
    certain = [effect for effect, p in zip(found, adjusted, strict=True) if p < 1 - level]
    if not certain:
        alone = any(effect.p_value < 1 - level for effect in found)
        among = f", as {len(found)} are tested (Holm's correction)" if alone else ""
        return f"No effect can be told from none{among}."
    top = max(certain, key=lambda effect: abs(effect.log_ratio / effect.standard_error))
    verb = "lengthens" if top.ratio > 1 else "shortens"
    return (
        f"The surest effect: {top.label} {verb} the time to grok to {top.ratio:.2f} times what it was "
        f"({top.lower:.2f} to {top.upper:.2f})."
    )


def _left_out(of: Any) -> tuple[str, ...]:
    return tuple(f"{name} is left out: {why}" for name, why in of.left_out.items())
