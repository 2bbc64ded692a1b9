"""The report's sections with figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from grokray.analysis import plots
from grokray.analysis.analysis import Analysis
from grokray.analysis.figures.curves import draw_curve
from grokray.analysis.figures.forest import Row, foremost, height_of
from grokray.analysis.figures.importance import height_of_importance
from grokray.analysis.figures.phases import draw_phases, height_of_phases
from grokray.analysis.figures.predictors import foremost_measures, height_of_predictors
from grokray.analysis.figures.profile import height_beside
from grokray.analysis.figures.survival import MOST_BANDS, height_above
from grokray.analysis.findings.critical import DIFFERENCES
from grokray.analysis.findings.finding import Finding, nothing_in
from grokray.analysis.findings.groups import main_parameters
from grokray.analysis.findings.typical import Typical, typical_trials
from grokray.analysis.outcomes import outcomes
from grokray.analysis.report.section import Pictures, Section, section_of
from grokray.analysis.times import times_of
from grokray.analysis.wording import value_text
from grokray.events import PHASE_ACCURACY, PHASE_GAP_STEPS
from grokray.wording import count

MOST_PROFILES, MOST_GROUPED, MOST_DIAGRAMS, MOST_SETTINGS = 8, 5, 3, 8
PROFILE_HEIGHT = 2.3  # inches
HOLLOW = " A hollow mark: no interval is known."


def robustness(a: Analysis) -> Section:
    finding, pictures = a.robustness(), Pictures("robustness")
    if finding.missing is None:
        profiles = finding.tables.get("profiles", pd.DataFrame(columns=["parameter"]))
        for name, part in [*profiles.groupby("parameter", sort=False)][:MOST_PROFILES]:
            caption = f"Share grokked along {name}, all else averaged over: {_n(a)}, {_level(a)} intervals."
            height = PROFILE_HEIGHT + height_beside(part)
            pictures.add(lambda axes, n=str(name): plots.profile(a, n, axes), caption, height)
    about = (
        "The share of the search space, in its own measure, in which a trial groks within its budget. Each "
        "configuration counts once; intervals are by configuration."
    )
    captions = {
        "share": "The share of the search space",
        "seeds": "Configurations of two or more seeds by how many of them grokked",
        "profiles": "Along each parameter",
    }
    return section_of(finding, about, pictures, captions, folded=("profiles",))


def phases(a: Analysis) -> Section:
    finding, pictures = a.phases(), Pictures("phases")
    if finding.missing is None:
        everyone, used = a.sweeps.trials.num_rows, _used(a)
        counted = count(everyone, "trial")
        if used < everyone:
            counted += f", shares of {used:,} that came to their end and count"
        unknown = ", or of which some were pruned and none was audited" if outcomes(a.sweeps.trials).audited else ""
        for x, y in _pairs(main_parameters(a.sweeps.trials))[:MOST_DIAGRAMS]:
            caption = (
                f"Phase diagram over {x} and {y}: colour, hatch and letters are the commonest phase of each cell, the "
                f"number is the share grokked, for which a trial's own threshold counts; a dot is a cell without "
                f"trials{unknown}. {counted}."
            )
            diagram = plots.phases_over(a, x, y)
            height = height_of_phases(diagram, plots.PHASES_HEIGHT)
            pictures.add(lambda axes, d=diagram: draw_phases(axes, d), caption, height)
    about = (
        "Confusion: training pairs never learned. Memorization: training pairs only. Comprehension: held-out pairs "
        f"less than {PHASE_GAP_STEPS:,} steps after them. Grokking: {PHASE_GAP_STEPS:,} or more after them (Liu et al. "
        f"2022; exact match of {PHASE_ACCURACY:g})."
    )
    return section_of(finding, about, pictures, {"phases": "Trials by phase"})


def survival(a: Analysis) -> Section:
    finding, pictures = a.survival(), Pictures("survival")
    if finding.missing is None:
        caption = f"Share of trials that have grokked by a step (Kaplan-Meier): {_n_watched(a)}, {_level(a)} band."
        pictures.add(lambda axes: plots.survival(a, None, axes), caption, plots.HEIGHT)
        # Where nobody grokked all lines of all groups lie on each other.
        groups = finding.estimates.groups if outcomes(a.sweeps.trials).grokked.any() else {}
        for name, curves in list(groups.items())[:MOST_GROUPED]:
            bands = f", {_level(a)} bands" if len(curves) <= MOST_BANDS else ""
            caption = f"Share of trials that have grokked by a step, by {name}: {_n_watched(a)}{bands}."
            height = plots.HEIGHT + height_above([*curves])
            pictures.add(lambda axes, n=name: plots.survival(a, n, axes), caption, height)
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


def effects(a: Analysis) -> Section:
    finding, pictures = a.effects(), Pictures("effects")
    for name in ("whether", "when"):
        kind = plots.EFFECTS[name]
        table = finding.tables.get(name)
        if table is not None and not nothing_in(table, kind.column):  # else the table says why
            n = counted_of(a.sweeps.trials.num_rows, getattr(finding.estimates, name).trials)
            caption = f"{kind.caption}, all other parameters held fixed: {n}, {_level(a)} intervals."
            pictures.add(lambda axes, of=name: plots.effects(a, of, axes), caption, height_of(len(table)))
    about = (
        "Whether: points that one unit of a parameter adds to the share that groks within the budget. When: a time "
        "ratio of 0.5 means in half as many steps, of trials that grok (accelerated failure time, given that they did "
        "within their budget). What helps the one may hurt the other. Both at once, below: time ratios of all trials, "
        "as if those that did not grok were late, and Cox's hazard ratios, which assume no distribution: 2 means twice "
        "as likely to grok in the next step."
    )
    captions = {
        "whether": "Whether a trial groks",
        "when": "When it does",
        "if_all_grok": "Time ratios, as if all grokked in the end",
        "hazard_ratios": "Hazard ratios (Cox)",
    }
    return section_of(finding, about, pictures, captions, folded=("if_all_grok", "hazard_ratios"))


def critical(a: Analysis) -> Section:
    finding, pictures = a.critical_fraction(), Pictures("critical")
    if finding.missing is None:
        rows = foremost(plots.critical_rows(finding))
        drawn = len(rows)
        caption = f"Training fraction at which half of the trials grok: {_n(a)}, {_level(a)} intervals."
        caption += _marks(rows)
        caption += _not_drawn(drawn, len(finding.table), "groups")
        pictures.add(lambda axes: plots.critical(a, None, axes), caption, height_of(drawn))
    about = (
        "Where the share that grokked within the budget crosses one half, on the best curve that rises with the "
        "training fraction; no other shape of it is assumed."
    )
    if DIFFERENCES in finding.tables:
        about += (
            " Groups are compared pair by pair; above 0 the first needs more data. An interval is of one comparison by "
            "itself, p (Holm) is corrected for all."
        )
    captions = {"critical_fraction": "Critical training fraction", DIFFERENCES: "Do groups differ in it?"}
    return section_of(finding, about, pictures, captions)


def _marks(rows: Sequence[Row]) -> str:
    """What arrows and hollow marks of critical fractions mean, where there are any."""
    is_open = any(math.isinf(end) for row in rows for end in (row.lower, row.upper))
    is_hollow = any(math.isnan(row.lower) and not math.isnan(row.value) for row in rows)
    arrow = " An arrow: it may lie beyond all fractions that were tried." if is_open else ""
    return arrow + (HOLLOW if is_hollow else "")


def importance(a: Analysis) -> Section:
    finding, pictures = a.importance(), Pictures("importance")
    if finding.missing is None:
        caption = (
            "Importance for the step of grokking by two estimators, shares of that of all parameters: "
            f"{_n_ranked(a)}, {_level(a)} intervals over resampled configurations."
        )
        pictures.add(lambda axes: plots.importance(a, axes), caption, height_of_importance(len(finding.table)))
    about = (
        "fANOVA splits the variance over the whole space; PED-ANOVA asks in what the best tenth differs from all. They "
        "answer different questions, and may disagree."
    )
    return section_of(finding, about, pictures, {"importance": "Importance"})


def comparison(a: Analysis) -> Section:
    finding, pictures = a.comparison(), Pictures("comparison")
    if finding.missing is None:
        caption = (
            f"Difference in the share grokked: {_n(a)}, {_level(a)} intervals. Right of 0, the first groks more often."
        )
        drawn = len(foremost(plots.rows_of(finding.table, "comparison", "difference", "reason")))
        caption += _not_drawn(drawn, len(finding.table), "comparisons")
        pictures.add(lambda axes: plots.comparison(a, axes), caption, height_of(drawn))
    about = (
        "Trials that agree in all other parameters and in their seeds, so train on the same pairs, are compared pair "
        "by pair; where there are too few of these, by regression on all other parameters. An interval is of one "
        "comparison by itself, p (Holm) is corrected for all. A median ratio of 0.5 means in half as many steps."
    )
    return section_of(finding, about, pictures, {"comparison": "Each against the first"})


def predictors(a: Analysis) -> Section:
    finding, pictures = a.predictors(), Pictures("predictors")
    if finding.missing is None and foremost_measures(finding.estimates):
        caption = (
            "Of all pairs of trials of which it is known who grokked first, the share in which that is the one with "
            f"more of what was measured at a step, before either had: {_n_watched(a)}, {_level(a)} intervals. 50 % is "
            "a coin's toss; far below it less goes first."
        )
        told = [one.among_all for one in finding.estimates.values()]
        caption += HOLLOW if any(math.isnan(one.lower) and not math.isnan(one.value) for one in told) else ""
        shown, every = len(foremost_measures(finding.estimates)), len({name for _, name in finding.estimates})
        caption += _not_drawn(shown, every, "measures")
        pictures.add(lambda axes: plots.predictors(a, None, axes), caption, height_of_predictors(finding.estimates))
    about = (
        "What was measured at an early step, of trials that had not grokked by it, against when they did (Harrell's "
        "concordance, up to the smallest budget). Much of it may be the doing of parameters, as weight decay makes "
        "norms small. Trials of one configuration differ in their seeds alone: of such pairs a measure tells by itself."
    )
    return section_of(finding, about, pictures, {"predictors": "Who will grok first?"}, folded=("predictors",))


def gallery(a: Analysis) -> Section:
    pictures, found = Pictures("gallery"), typical_trials(a.sweeps)
    for one in found:
        caption = _typical(one, main_parameters(a.sweeps.trials))
        pictures.add(lambda axes, c=one.curve: draw_curve(axes, c), caption, plots.CURVE_HEIGHT)
    about = (
        "One trial of each phase, the medoid: of those that came to their end, the one with the median delay of "
        "grokking; of phases without a delay, with the median of what its caption names. Exact match."
    )
    why = None if found else "no trial was measured yet"
    return section_of(Finding(name="gallery", title="A typical trial of each phase", missing=why), about, pictures)


def _not_drawn(drawn: int, rows: int, what: str) -> str:
    return f" {drawn} of {rows} {what} are drawn; the table tells of all." if drawn < rows else ""


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Two parameters each, those that come first first: the first against the second, the third, …"""
    return [(names[i], names[j]) for j in range(1, len(names)) for i in range(j)]


def _typical(one: Typical, varying: Sequence[str]) -> str:
    """With its values of what varies, as far as it has them: a single token has no base."""
    value = f"{one.value:.2f}" if one.by.endswith("exact_match") else f"{one.value:,.0f}"
    row = one.curve.row
    settings = [f"{name} {value_text(row[name], 3)}" for name in varying if row[name] is not None][:MOST_SETTINGS]
    median = f"trial {row['trial_id']}, the median {one.by} ({value}) of {one.among:,} that have one"
    return f"{'; '.join([f'{one.phase.capitalize()}: {median}', ', '.join(settings)]).removesuffix('; ')}."


def _n(a: Analysis) -> str:
    """Of shares."""
    return counted_of(a.sweeps.trials.num_rows, _used(a))


def _n_watched(a: Analysis) -> str:
    """Of times, for which a trial that is not decided counts up to where it stands."""
    return counted_of(a.sweeps.trials.num_rows, len(times_of(a.sweeps.trials).counted()))


def _n_ranked(a: Analysis) -> str:
    """Of importance, for which pruned trials rank last where no audited ones stand for them."""
    found = outcomes(a.sweeps.trials)
    counting = found.used if found.audited else found.stands_for
    return counted_of(a.sweeps.trials.num_rows, int(counting.sum()))


def _used(a: Analysis) -> int:
    return int(outcomes(a.sweeps.trials).used.sum())


def counted_of(trials: int, counting: int) -> str:
    """`216 trials, of which 101 count`; `216 trials` where all do."""
    return count(trials, "trial") + (f", of which {counting:,} count" if counting < trials else "")


def _level(a: Analysis) -> str:
    return f"{100 * a.level:g} %"
