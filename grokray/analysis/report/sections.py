"""The report's sections in their order, one function each: a finding, how it came about, its figures and tables."""

from __future__ import annotations

from collections.abc import Callable

from grokray.analysis.analysis import Analysis
from grokray.analysis.report import pictured
from grokray.analysis.report.section import Section, section_of


def sections(analysis: Analysis) -> list[Section]:
    return [make(analysis) for make in SECTIONS]


def overview(a: Analysis) -> Section:
    captions = {"sweeps": "Trials by how they ended", "parameters": "What varied"}
    return section_of(a.overview(), "", captions=captions)


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


def quality(a: Analysis) -> Section:
    return section_of(a.quality(), "", captions={"warnings": "What speaks against trusting the numbers"})


SECTIONS: tuple[Callable[[Analysis], Section], ...] = (
    *(overview, pictured.robustness, pictured.phases, pictured.survival, delay, pictured.effects, pictured.critical),
    *(pictured.importance, pictured.comparison, pictured.predictors, tasks, variance, audit, pictured.gallery, quality),
)
