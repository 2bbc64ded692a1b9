"""What each parameter does to whether trials grok, to when, and to both at once.

Whether: differences of shares (`whether.py`). When, of those that grok: accelerated failure time, given that they did
within their budget (`when.py`). Both at once: the same model of all trials, where one that never groks is a late one,
and Cox's as a second view.

Ten events for each coefficient: Peduzzi, P., Concato, J., Feinstein, A. R., and Holford, T. R. (1995). Importance of
events per independent variable in proportional hazards regression analysis II. Journal of Clinical Epidemiology 48,
1503-1510.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from grokray.analysis.aft import AftFit, best_aft
from grokray.analysis.bends import EVENTS_PER_COEFFICIENT
from grokray.analysis.cox import CoxFit, fit_cox
from grokray.analysis.design import Design, design_of
from grokray.analysis.effects import Effect
from grokray.analysis.findings.finding import Finding, missing, unique, without_silence
from grokray.analysis.findings.words import number
from grokray.analysis.logrank import holm
from grokray.analysis.outcomes import NOBODY, Outcomes, column, diverged, outcomes
from grokray.analysis.times import times_of
from grokray.analysis.weights import scheduler_audit
from grokray.analysis.when import fit_when, seen_within, uneven_when
from grokray.analysis.whether import ShareEffect, WhetherFit, fit_whether, uneven_whether
from grokray.analysis.wording import counted
from grokray.wording import count

NAME, TITLE = "effects", "Effects of parameters"
FAMILY_NAMES = {"lognormal": "log-normal", "weibull": "Weibull"}
MEANS = {"share": "a difference", "time": "a ratio"}

Fit = TypeVar("Fit", AftFit, CoxFit)
Some = TypeVar("Some", Effect, ShareEffect)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """`aft`, of all trials, is the better by AIC of the two families, `other` the other one."""

    whether: WhetherFit
    when: AftFit
    aft: AftFit
    other: AftFit
    cox: CoxFit
    design: Design


def effects(trials: pa.Table, level: float = 0.95) -> Finding:
    design, times, found = design_of(trials), times_of(trials, while_training=True), outcomes(trials)
    if not design.names:
        return missing(NAME, TITLE, "no parameter varies among the trials", _left_out(design))
    fit, other = best_aft(times, design, level)
    whether = fit_whether(found.grokked, found.weight, found.cluster, design, level)
    if fit.failure and not whether.differs:
        return missing(NAME, TITLE, fit.failure, _left_out(design))
    unknown = _unrepresented(design, found)
    whether = replace(whether, effects=_without(whether.effects, unknown))
    when = _where_known(fit_when(times, design, within := seen_within(trials), level), unknown)
    uneven = {
        "share": uneven_whether(found.grokked, found.weight, found.cluster, design, whether),
        "time": uneven_when(times, design, within, when),
    }
    fit, cox = _where_known(fit, unknown), _where_known(fit_cox(times, design, level=level), unknown)
    tables = {
        "whether": _table(whether.effects if whether.differs else (), "difference"),
        "when": _table(() if when.failure else when.effects, "time_ratio"),
        "if_all_grok": _table(() if fit.failure else fit.effects, "time_ratio_if_all_grok"),
        "hazard_ratios": _table(cox.effects, "hazard_ratio"),
    }
    certain = f"{counted(fit.certain, 'trial', 'says', 'say')} only that an effect cannot be told"
    notes = [
        *_models(whether, when, fit, other),
        *_means_of_ranges(uneven),
        certain if fit.certain else None,
        f"hazard ratios: {cox.failure}" if cox.failure else None,
        _diverged(trials),
        _budgets(trials) if whether.differs else None,
        *(f"whether: {note}" for note in found.undecided_notes if whether.differs),
        *_left_out(fit),
        scheduler_audit(trials).warning,
    ]
    return Finding(
        name=NAME,
        title=TITLE,
        tables={name: table for name, table in tables.items() if len(table)},
        summary=" ".join([*_summaries(whether, when, level), *_uneven(uneven)]),
        notes=unique(notes),
        level=level,
        estimates=Effects(whether=whether, when=when, aft=fit, other=other, cox=cox, design=design),
    )


def _models(whether: WhetherFit, when: AftFit, fit: AftFit, other: AftFit) -> Iterator[str]:
    if not whether.differs:
        yield "all trials that count grokked within their budget, so nothing tells whether they do"
    if when.failure:
        yield f"when: {when.failure}"
    else:
        given = "given that they did within their budget"
        yield f"when: {FAMILY_NAMES[when.family]}, of {count(when.events, 'trial')} that grokked, {given}"
    if fit.failure:
        yield f"if all grok: {fit.failure}"
    else:
        yield _model(fit, other)
    yield from _few_events(*_size(whether, fit))


def _model(fit: AftFit, other: AftFit) -> str:
    text = f"if all grok: {FAMILY_NAMES[fit.family]} accelerated failure time"
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


def _where_known(fit: Fit, unknown: frozenset[str]) -> Fit:
    return replace(fit, effects=_without(fit.effects, unknown))


def _without(found: Sequence[Some], names: frozenset[str]) -> tuple[Some, ...]:
    return tuple(
        type(one)(name=one.name, label=one.label, reason=one.reason or NOBODY) if one.name in names else one
        for one in found
    )


def _diverged(trials: pa.Table) -> str | None:
    """At risk to the end of their budget, one in a hundred would draw all ratios to 1: they do not grok however good
    their parameters are."""
    lost = int(diverged(trials).sum())
    if not lost:
        return None
    text = counted(lost, "trial", "diverged, and counts", "diverged, and count")
    return f"{text} up to there: effects are those on trials that train; which diverge is told by the phases"


def _budgets(trials: pa.Table) -> str | None:
    """`num_steps` is no cause, so no column holds it fixed: a parameter along which it changes takes what it does."""
    budgets = np.unique(column(trials, "num_steps"))
    if len(budgets) < 2:
        return None
    ends = f"{budgets[0]:,.0f} to {budgets[-1]:,.0f}"
    return f"whether: budgets are {ends} steps, so a parameter that changes with num_steps is told to do what that does"


def _uneven(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for what, columns in found.items():
        if columns:
            yield f"The {what} does not change evenly along {' and '.join(columns)}."


def _means_of_ranges(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for what, columns in found.items():
        shown = {name: number(p, "p") for name, p in columns.items()}
        tests = ", ".join(f"{name}, p {p if '<' in p else f'= {p}'}" for name, p in shown.items())
        if tests:
            fits = f"of the {what} a parabola fits better than a line ({tests})"
            yield f"{fits}: {MEANS[what]} is a mean over what was tried, the profiles show more"


def _size(whether: WhetherFit, fit: AftFit) -> tuple[int, int]:
    """Trials that grokked, and effects: of the model of all, or where it has none of whether they do."""
    if fit.failure:
        return whether.grokked, sum(effect.reason is None for effect in whether.effects)
    return fit.events, len(fit.names)


def _few_events(events: int, size: int) -> Iterator[str]:
    """With fewer, intervals hold the truth more seldom than they say, and the two models may contradict each other."""
    if events < EVENTS_PER_COEFFICIENT * size:
        few = f"only {count(events, 'trial')} grokked, for {count(size, 'effect')}"
        yield f"{few}: with fewer than {EVENTS_PER_COEFFICIENT} for each neither intervals nor p can be relied on"


def _table(found: Sequence[Effect | ShareEffect], what: str) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "effect_of": effect.label,
            what: effect.ratio if isinstance(effect, Effect) else effect.difference,
            f"{what}_lower": effect.lower,
            f"{what}_upper": effect.upper,
            "p_value": effect.p_value,
            "reason": effect.reason or "",
        }
        for effect in found
    )
    return without_silence(table, "reason")


def _summaries(whether: WhetherFit, when: AftFit, level: float) -> Iterator[str]:
    if whether.differs:
        yield _summary("whether a trial groks", whether.effects, level)
    if not when.failure:
        yield _summary("when it does" if whether.differs else "when a trial groks", when.effects, level)


def _summary(on: str, found: Sequence[Effect | ShareEffect], level: float) -> str:
    """The surest effect, where it can be told from none among so many: by Holm's correction, as in `logrank.py`."""
    if all(effect.reason for effect in found):
        return f"No effect on {on} can be estimated from these trials."
    adjusted = holm(np.array([effect.p_value for effect in found]))
    certain = [effect for effect, p in zip(found, adjusted, strict=True) if p < 1 - level]
    if not certain:
        alone = any(effect.p_value < 1 - level for effect in found)
        among = f", as {len(found)} are tested (Holm's correction)" if alone else ""
        return f"No effect on {on} can be told from none{among}."
    top = max(certain, key=lambda effect: effect.certainty)
    return f"The surest effect on {on}: {top.label} {top.stated}."


def _left_out(of: Any) -> tuple[str, ...]:
    return tuple(f"{name} is left out: {why}" for name, why in of.left_out.items())
