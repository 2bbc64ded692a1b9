"""What was run: sweeps, outcomes, and the parameters that varied."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from grokray.analysis.findings.finding import Finding, unique
from grokray.analysis.made_columns import made_of
from grokray.analysis.outcomes import column, varying
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.wording import ranges, readable, value_text
from grokray.events import OUTCOMES
from grokray.records.folder import SweepFolder

NAME, TITLE = "overview", "What was run"
MOST_VALUES = 8
FOLLOWS = "follows from others"  # such as the order of digits, which only sequences have


def overview(sweeps: Sweeps) -> Finding:
    trials = sweeps.trials
    outcome = column(trials, "outcome")
    sweep = column(trials, "sweep")
    rows = []
    for name, folder in zip(sweeps.names, sweeps.folders, strict=True):
        here = sweep == name
        counts = {o: int((here & (outcome == o)).sum()) for o in OUTCOMES}
        rows.append(
            {
                "sweep": name,
                "method": _line(folder, "method"),
                "scheduler": _line(folder, "scheduler.type"),
                "trials": int(here.sum()),
                "configurations": len(set(column(trials, "configuration")[here].tolist())),
                **{o: number for o, number in counts.items() if number or o in ("grokked", "budget")},
                "unfinished": int(here.sum()) - sum(counts.values()),
            }
        )
    parameters = _parameters(sweeps)
    tables = {"sweeps": pd.DataFrame(rows).fillna(0)}
    if len(parameters):
        tables["parameters"] = parameters
    if sweeps.chosen:  # files of tables have no notes
        tables["sweeps"]["chosen"] = ", ".join(sweeps.chosen)
    made = [f"{name} is {text}" for name, text in made_of(trials).items()]
    notes = [*sweeps.notes, *made, sweeps.choice, None if len(parameters) else "no parameter varies among the trials"]
    return Finding(name=NAME, title=TITLE, tables=tables, notes=unique(notes))


def _parameters(sweeps: Sweeps) -> pd.DataFrame:
    """What varied, as the search space says it or, where there are several spaces, as the trials have it."""
    made = made_of(sweeps.trials)
    names = [*varying(sweeps.trials), *made]
    known = sweeps.folders[0].fingerprint if sweeps.one_space and sweeps.of is None else {}
    specs = {name: known[f"parameters.{name}"] for name in names if f"parameters.{name}" in known}
    rows = []
    for name in names:
        row = {"parameter": name, "seen": _seen(sweeps.trials[name])}
        if specs:
            row["space"] = _spec(json.loads(specs[name])) if name in specs else made.get(name, FOLLOWS)
        rows.append(row)
    return pd.DataFrame(rows, columns=["parameter", *(["space"] if specs else []), "seen"])


def _spec(spec: dict[str, Any]) -> str:
    """{"distribution": "uniform", "min": 0, "max": 1} → uniform, 0 to 1."""
    when = ", ".join(
        f"{k} is {' or '.join(map(value_text, v)) if isinstance(v, list) else value_text(v)}"
        for k, v in spec.get("when", {}).items()
    )
    when = f" if {when}" if when else ""
    if "values" in spec:
        return f"one of {', '.join(map(value_text, spec['values']))}{when}"
    if "value" in spec:
        return f"{value_text(spec['value'])}{when}"
    shape = str(spec.get("distribution", "")).replace("_values", "").replace("_", " ")
    ends = f", {readable(spec['min'], 6)} to {readable(spec['max'], 6)}" if {"min", "max"} <= spec.keys() else ""
    return f"{shape}{ends}{when}"


def _seen(values: Any) -> str:
    known = sorted(
        {value for value in values.unique().to_pylist() if value is not None and not isinstance(value, list)}
    )
    if len(known) > MOST_VALUES and not isinstance(known[0], str):
        return ranges([known[0], known[-1]])[0]
    shown = [value_text(value) for value in known[:MOST_VALUES]]
    return ", ".join(shown) + (f" and {len(known) - MOST_VALUES:,} more" if len(known) > MOST_VALUES else "")


def _line(folder: SweepFolder, name: str) -> str:
    return str(json.loads(folder.fingerprint.get(name, '"?"')))
