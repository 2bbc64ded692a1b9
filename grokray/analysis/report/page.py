"""The page: the headline, its sections, and how to cite and repeat what it reports."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokray.analysis.analysis import Analysis
from grokray.analysis.made_columns import made_of
from grokray.analysis.outcomes import column
from grokray.analysis.report.sections import sections
from grokray.analysis.sweeps import BY_HAND
from grokray.records.folder import SweepFolder
from grokray.records.store import as_folder_error
from grokray.records.store_local import in_place_of
from grokray.version import VERSION


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How one sweep came about: its folder's name, its file, the commands that ran, and what they ran with."""

    name: str
    yaml: str
    commands: tuple[str, ...]
    versions: str


def render(analysis: Analysis) -> str:
    """One HTML document that loads nothing."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("grokray.analysis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A number and its % stay on one line.
    environment.filters["tight"] = lambda text: str(text).replace(" %", "\u00a0%")
    environment.filters["sentence"] = _sentence
    trials = analysis.sweeps.trials
    made = sections(analysis)
    headline = next((s.summary or s.missing for s in made if s.id == "robustness"), "")
    return environment.get_template("report.html.j2").render(
        title=f"{analysis.sweeps.name}: how robust is grokking?",
        name=analysis.sweeps.name,
        headline=headline,
        warnings=[
            text for (text,) in (row for s in made if s.id == "quality" for t in s.tables for row in t.texts.rows)
        ],
        sections=made,
        origins=[
            _origin(folder, trials, name)
            for folder, name in zip(analysis.sweeps.folders, analysis.sweeps.names, strict=True)
        ],
        version=VERSION,
        level=f"{100 * analysis.level:g}",
        trials=analysis.sweeps.size,
        chosen=analysis.sweeps.chosen,
        options="".join(f" {option}" for option in _options(analysis)),
    )


def write_report(analysis: Analysis, path: Path) -> None:
    """FolderError if it cannot be written; where there can be no folder for it, before anything is computed."""
    with as_folder_error("write", str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = render(analysis)
    with as_folder_error("write", str(path)), in_place_of(path) as written:
        written.write_text(text, encoding="utf-8")


def _options(analysis: Analysis) -> Iterator[str]:
    """Of the command that repeats the page."""
    for name, text in made_of(analysis.sweeps.trials).items():
        yield f"--column {shlex.quote(f'{name}={text}')}"
    for text in analysis.sweeps.chosen:
        if text != BY_HAND:
            yield f"--where {shlex.quote(text)}"


def _sentence(text: str) -> str:
    """With a capital letter, but where it begins with a column's name."""
    return text if "_" in text.split()[0] else text[0].upper() + text[1:]


def _origin(folder: SweepFolder, trials: Any, name: str) -> Origin:
    visits = folder.meta.get("commands") or [
        {"command": folder.meta.get("command"), "versions": folder.meta.get("versions")}
    ]
    versions: dict[str, set[str]] = {}
    for package in ("grokray", "torch", "ray"):
        here = column(trials, f"{package}_version")[column(trials, "sweep") == name]
        versions[package] = {str(value) for value in set(here.tolist()) if value is not None}
    shown = [f"{package} {' and '.join(sorted(found))}" for package, found in versions.items() if found]
    commits = dict.fromkeys(str(one["commit"]) for visit in visits if "commit" in (one := visit.get("versions") or {}))
    if versions["grokray"] and commits:
        shown[0] += f" (commit {' and '.join(commits)})"
    commands = dict.fromkeys(str(visit["command"]) for visit in visits if visit.get("command"))
    return Origin(name=name, yaml=folder.sweep_yaml, commands=tuple(commands), versions=", ".join(shown) or "unknown")
