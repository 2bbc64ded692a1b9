"""The metrics that a search can aim at and a scheduler can watch: one table, and the original's names for them."""

from __future__ import annotations

from typing import Literal

from grokray.trial import PARTS

Goal = Literal["minimize", "maximize"]

_CURVES: dict[str, Goal] = {"loss": "minimize", "token_accuracy": "maximize", "exact_match": "maximize"}
CURVE_METRICS: dict[str, Goal] = {f"{part}_{measure}": goal for part in PARTS for measure, goal in _CURVES.items()}

ROBUSTNESS = "robustness"  # of a configuration: how likely it is to grok, by its seeds

# Name → which way is better. Events first: known only when a trial has ended.
METRICS: dict[str, Goal] = {
    ROBUSTNESS: "maximize",
    "grok_step": "minimize",
    "memorization_step": "minimize",
    "grok_delay": "minimize",
    **CURVE_METRICS,
}

_PARTS = {"train": "train", "training": "train", "validation": "heldout", "val": "heldout"}
_MEASURES = {"loss": "loss", "accuracy": "exact_match", "token_accuracy": "token_accuracy"}
ALIASES: dict[str, str] = {
    "step": "grok_step",
    **{
        f"{part}{mark}{measure}": f"{ours}_{our_measure}"
        for part, ours in _PARTS.items()
        for mark in "/_"
        for measure, our_measure in _MEASURES.items()
        if f"{part}{mark}{measure}" not in METRICS
    },
}
