"""The report's sections, one function each: a finding, its figures, and how it came about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from grokray.analysis.analysis import Analysis
from grokray.analysis.figures.curves import draw_curve
from grokray.analysis.figures.forest import Row, draw_forest, height_of
from grokray.analysis.figures.importance import draw_importance
from grokray.analysis.figures.phases import draw_phases
from grokray.analysis.figures.profile import draw_profile
from grokray.analysis.figures.survival import draw_survival
from grokray.analysis.findings.critical import value_text
from grokray.analysis.findings.finding import Finding
from grokray.analysis.findings.groups import main_parameters
from grokray.analysis.findings.phases import diagram_of
from grokray.analysis.findings.typical import Typical, typical_trials
from grokray.analysis.report.section import Pictures, Section, section_of

MOST_PROFILES, MOST_GROUPED, MOST_DIAGRAMS = 8, 5, 3


def sections(analysis: Analysis) -> list[Section]:
    return [make(analysis) for make in SECTIONS]


def quality(a: Analysis) -> Section:
    return section_of(a.quality(), "", captions={"warnings": "What speaks against trusting the numbers"})


def overview(a: Analysis) -> Section:
    captions = {"sweeps": "Trials by how they ended", "parameters": "What varied"}
    return section_of(a.overview(), "", captions=captions)


def robustness(a: Analysis) -> Section:
    finding, pictures = a.robustness(), Pictures("robustness")
    profiles = finding.tables.get("profiles")
    for name, table in _by_first(profiles, MOST_PROFILES):
        caption = f"Share grokked along {name}, all else averaged over: {_n(a)}, {_level(a)} intervals."
        pictures.add(lambda axes, n=name, t=table: draw_profile(axes, t, n), caption, 2.3)
    about = (
        "The share of the search space, in its own measure, in which a trial groks within its budget. Each "
        "configuration counts once; intervals draw configurations."
    )
    captions = {
        "share": "The share of the search space",
        "seeds": "Configurations of two or more seeds by how many of them grokked",
        "profiles": "Along each parameter",
    }
    return section_of(finding, about, pictures, captions, folded=("profiles",))


def survival(a: Analysis) -> Section:
    finding, pictures = a.survival(), Pictures("survival")
    if finding.missing is None:
        found = finding.estimates
        caption = f"Share of trials that have grokked by a step (Kaplan-Meier): {_n(a)}, {_level(a)} band."
        pictures.add(lambda axes: draw_survival(axes, {"all": found.overall}, found.horizon), caption, 2.7)
        for name, curves in list(found.groups.items())[:MOST_GROUPED]:
            caption = f"The same by {name}: {_n(a)}, {_level(a)} bands."
            pictures.add(lambda axes, n=name, c=curves: draw_survival(axes, c, found.horizon, n), caption, 2.7)
    about = (
        "Trials that had not grokked when they ended are censored there, those that diverged at the end of their "
        "budget; pruned ones are stood for by audited ones, weighted by the inverse of their chance. Steps are those "
        "of the measurement that saw the event; the median's interval by Turnbull's estimator stands beside it."
    )
    captions = {
        "overall": "All trials",
        "tests": "Do groups grok at different times? Log-rank tests",
        "groups": "By parameter",
    }
    return section_of(finding, about, pictures, captions, folded=("groups",))


def phases(a: Analysis) -> Section:
    finding, pictures = a.phases(), Pictures("phases")
    if finding.missing is None:
        for x, y in pairs_of(main_parameters(a.sweeps.trials))[:MOST_DIAGRAMS]:
            found = diagram_of(a.sweeps.trials, x, y, a.level)
            used = f"{int(found.used.sum()):,} trials that came to their end"
            caption = (
                f"Phase diagram over {x} and {y}: colour, hatch and letters are the commonest phase of each cell, the "
                f"number is the share grokked; a dot is a cell without trials. {_n(a)}, shares of {used}."
            )
            pictures.add(lambda axes, d=found: draw_phases(axes, d), caption, 3.9)
    about = (
        "Confusion: training pairs never learned. Memorization: training pairs only. Comprehension: held-out pairs "
        "less than 1,000 steps after them. Grokking: 1,000 or more after them (Liu et al. 2022; exact match of 0.9)."
    )
    return section_of(finding, about, pictures, {"phases": "Trials by phase"})


def effects(a: Analysis) -> Section:
    finding, pictures = a.effects(), Pictures("effects")
    for number, (name, ratio, what) in enumerate(
        (("time_ratios", "time_ratio", "time to grok"), ("hazard_ratios", "hazard_ratio", "hazard of grokking"))
    ):
        if (table := finding.tables.get(name)) is not None:
            rows = rows_of(table, "effect_of", ratio, "reason")
            caption = f"Factors on the {what}, all other parameters held fixed: {_n(a)}, {_level(a)} intervals."
            pictures.add(
                lambda axes, r=rows, w=what, s=number: draw_forest(axes, r, none=1, log=True, name=f"× {w}", series=s),
                caption,
                height_of(len(rows)),
            )
    about = (
        "A time ratio of 0.5 means in half as many steps (accelerated failure time, fitted to intervals). The hazard "
        "ratio of Cox's model is a second view that assumes no distribution: 2 means twice as likely to grok in the "
        "next step."
    )
    captions = {"time_ratios": "Time ratios", "hazard_ratios": "Hazard ratios (Cox), a second view"}
    return section_of(finding, about, pictures, captions, folded=("hazard_ratios",))


def critical(a: Analysis) -> Section:
    finding, pictures = a.critical_fraction(), Pictures("critical")
    if finding.missing is None:
        rows = critical_rows(finding)
        caption = f"Training fraction at which half of the trials grok: {_n(a)}, {_level(a)} intervals (Fieller)."
        pictures.add(
            lambda axes: draw_forest(axes, rows, name="critical training fraction", series=2),
            caption,
            height_of(len(rows)),
        )
    about = "Where a logistic curve of grokked within the budget over the training fraction crosses one half."
    return section_of(finding, about, pictures, {"critical_fraction": "Critical training fraction"})


def importance(a: Analysis) -> Section:
    finding, pictures = a.importance(), Pictures("importance")
    if finding.missing is None:
        table = finding.table
        caption = f"Importance for the step of grokking by two estimators, that of all parameters being 1: {_n(a)}."
        height = 0.8 + 0.42 * len(table)
        pictures.add(lambda axes: draw_importance(axes, table), caption, height)
    about = (
        "fANOVA splits the variance over the whole space; PED-ANOVA asks in what the best tenth differs from all. They "
        "answer different questions, and may disagree."
    )
    return section_of(finding, about, pictures, {"importance": "Importance"})


def comparison(a: Analysis) -> Section:
    finding, pictures = a.comparison(), Pictures("comparison")
    if finding.missing is None:
        rows = rows_of(finding.table, "comparison", "difference", "")
        caption = (
            f"Difference in the share grokked: {_n(a)}, {_level(a)} intervals. To the right of 0, the first groks more."
        )
        pictures.add(
            lambda axes: draw_forest(axes, rows, none=0, name="difference in the share grokked", series=2),
            caption,
            height_of(len(rows)),
        )
    about = (
        "Trials that agree in all other parameters and in their seeds, so train on the same pairs, are compared pair by "
        "pair; where there are too few of these, by regression on all other parameters. A median ratio of 0.5 means "
        "in half as many steps."
    )
    return section_of(finding, about, pictures, {"comparison": "Each against the first"})


def delay(a: Analysis) -> Section:
    about = "Trials that memorized and had not grokked when they ended are censored there (Kaplan-Meier)."
    captions = {"delay": "Steps from memorization to grokking", "ungrokking": "Ungrokking"}
    return section_of(a.delay(), about, captions=captions)


def tasks(a: Analysis) -> Section:
    return section_of(a.tasks(), "", captions={"tasks": "Each task by itself"})


def variance(a: Analysis) -> Section:
    about = (
        "The variance of grokked yes or no, and of the logarithm of the grok step, split by the method of moments over "
        "pairs of trials; intervals draw configurations."
    )
    return section_of(a.variance(), about, captions={"variance": "Shares of the variance"})


def audit(a: Analysis) -> Section:
    about = (
        "Of the trials that the scheduler wanted to stop, some were chosen at random to run on. How many of these "
        "grokked says how often stopping was wrong."
    )
    return section_of(a.audit(), about, captions={"rates": "How often it was wrong", "counts": "Trials"})


def gallery(a: Analysis) -> Section:
    pictures, found = Pictures("gallery"), typical_trials(a.sweeps)
    for one in found:
        pictures.add(lambda axes, c=one.curve: draw_curve(axes, c), _typical(one), 2.4)
    about = (
        "One trial of each phase, the medoid: of those that came to their end, the one with the median delay of "
        "grokking; of phases without a delay, with the median of what its caption names. Exact match."
    )
    finding = Finding(name="gallery", title="A typical trial of each phase", missing=None if found else "no curves yet")
    return section_of(finding, about, pictures)


SECTIONS: tuple[Callable[[Analysis], Section], ...] = (
    *(overview, robustness, phases, survival, delay, effects, critical, importance, comparison, tasks, variance, audit),
    gallery,
    quality,
)


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Two parameters each, those that come first first: the first against the second, the third, …"""
    return [(names[i], names[j]) for j in range(1, len(names)) for i in range(j)]


def rows_of(table: pd.DataFrame, label: str, value: str, why: str) -> list[Row]:
    return [
        Row(
            label=str(row[label]),
            value=row[value],
            lower=row[f"{value}_lower"],
            upper=row[f"{value}_upper"],
            why=str(row.get(why, "") or ""),
        )
        for row in table.to_dict("records")
    ]


def critical_rows(finding: Finding) -> list[Row]:
    return [
        Row(label=_group(one.group), value=one.fraction, lower=one.lower, upper=one.upper, why=one.reason)
        for one in finding.estimates
    ]


def _group(values: dict) -> str:
    return (
        ", ".join(f"{name} {value_text(value)}" for name, value in values.items() if value is not None) or "all trials"
    )


def _by_first(table: pd.DataFrame | None, most: int) -> list[tuple[str, pd.DataFrame]]:
    if table is None:
        return []
    first = table.columns[0]
    return [(str(name), part) for name, part in table.groupby(first, sort=False)][:most]


def _typical(one: Typical) -> str:
    value = f"{one.value:,.0f}" if one.value >= 2 else f"{one.value:.2f}"
    row = one.curve.row
    return (
        f"{one.phase}: trial {row['trial_id']}, the median {one.by} ({value}) of {one.among:,}. Weight decay "
        f"{row['weight_decay']:.3g}, dropout {row['dropout']:.3g}, training fraction {row['training_fraction']:.3g}."
    )


def _n(a: Analysis) -> str:
    return f"{a.sweeps.trials.num_rows:,} trials"


def _level(a: Analysis) -> str:
    return f"{100 * a.level:g} %"
