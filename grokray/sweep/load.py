"""A search space from its YAML file: read, overridden, translated from W&B's words, validated, tried out.

All problems of a file are found together; each names its place. Precedence: defaults, file, overrides, options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from grokray.errors import ConfigError, Problem
from grokray.sweep import check
from grokray.sweep.config import SweepConfig
from grokray.sweep.explain import explain, no_mapping
from grokray.sweep.measure_file import FIELD
from grokray.sweep.overrides import apply_overrides
from grokray.sweep.rules import Fault
from grokray.sweep.translate import Translation, translate
from grokray.sweep.yaml_text import Document, dotted, parse_yaml, read_text
from grokray.tasks.draft import PARAMETERS
from grokray.trial import PATHS

HINT = "The README explains search spaces; `grokray schema` prints their JSON Schema."


def load_sweep(
    path: str | Path,
    overrides: Sequence[str] = (),
    num_trials: int | None = None,
    part: str | None = None,
    stand_ins: Callable[[SweepConfig], SweepConfig] | None = None,
) -> SweepConfig:
    """The sweep of one YAML file; `overrides` such as "trial.eval_interval=50" or "parameters.weight_decay=1".
    `stand_ins` replaces what has gone from the file's paths, before anything is looked for there.

    Raises ConfigError with every problem found, each with its place, as in
    "robust.yaml:12:5: parameters.dropout.min is 0.9, but must be below max, which is 0.4".
    """
    if not str(path).strip():  # which Path takes for the working directory
        message = "the search space's name is empty, but must be the path of a YAML file"
        raise ConfigError([Problem(message=message)])
    path, options = Path(path), {"num_trials": num_trials, "part": part}
    given = {key: value for key, value in options.items() if value is not None}
    where = {"folder": path.parent, "stand_ins": stand_ins}
    return load_text(read_text(path), str(path), path.stem, overrides=overrides, options=given, **where)


def load_text(
    text: str,
    source: str,
    stem: str,
    *,
    overrides: Sequence[str] = (),
    options: Mapping[str, object] = MappingProxyType({}),
    folder: Path = Path(),
    try_out: bool = True,
    stand_ins: Callable[[SweepConfig], SweepConfig] | None = None,
) -> SweepConfig:
    """As load_sweep, for text that is no file: `source` stands in places, `stem` names a sweep without a name, paths in
    the text start from `folder`, and `options` are as in `apply_overrides`. With `try_out` false it is not tried
    whether the trials can be: of a sweep that has begun this is known, and its data may be elsewhere by now."""
    document = parse_yaml(text, source)
    if not isinstance(document.data, dict):
        raise ConfigError(no_mapping(document, "method and parameters"), hint=HINT)
    _anchor(document.data, folder)
    document = apply_overrides(document, overrides, options)
    _anchor(document.data, Path())
    translation = translate(document.data)
    translation.data.setdefault("name", re.sub(r"[^\w.+-]+", "-", stem).strip("-.+")[:100] or "sweep")
    config, faults = _validate(translation, try_out, stand_ins or (lambda config: config))
    problems = [*document.problems, *_problems([*translation.faults, *faults], translation, document)]
    if problems or config is None:
        raise ConfigError(sorted(problems, key=_reading_order), hint=HINT)
    return config


def _anchor(data: dict[str, Any], folder: Path) -> None:
    """Make paths whole, as they start from the file's folder; what --set gives starts where the command is run."""
    if isinstance(trial := data.get("trial"), dict) and FIELD in trial:
        trial[FIELD] = _anchored(trial[FIELD], folder)
    parameters = data.get("parameters")
    if not isinstance(parameters, dict):
        return
    for name in PATHS:
        if isinstance(spec := parameters.get(name), dict):
            spec.update({key: _anchored(spec[key], folder) for key in ("value", "values") if key in spec})
    for spec in parameters.values():
        if isinstance(spec, dict) and isinstance(when := spec.get("when"), dict):
            when.update({name: _anchored(when[name], folder) for name in PATHS if name in when})


def _anchored(path: Any, folder: Path) -> Any:
    if isinstance(path, list):
        return [_anchored(p, folder) for p in path]
    is_path = isinstance(path, str) and "://" not in path
    return str((folder / Path(path).expanduser()).absolute()) if is_path else path


def _validate(
    translation: Translation, try_out: bool, stand_ins: Callable[[SweepConfig], SweepConfig]
) -> tuple[SweepConfig | None, list[Fault]]:
    data = translation.data
    try:
        config, faults = stand_ins(SweepConfig.model_validate(data)), []
    except ValidationError as error:
        config, faults = None, explain(error, data)
    omitted = _faulty_names([*faults, *translation.faults])
    # What has no fault of its own is validated once more without the rest, so that rules between keys are seen too.
    rest = config or _rest(data, omitted, faults)
    if rest is not None and try_out:
        more, notes = check.try_out(rest, omitted=omitted & {*PARAMETERS})
        faults += more
        config = config and _with_notes(config, notes)
    return config, faults


def _with_notes(config: SweepConfig, notes: Sequence[str]) -> SweepConfig:
    return config.model_copy(update={"notes": tuple(dict.fromkeys([*config.notes, *notes]))})


def _rest(data: dict[str, Any], omitted: frozenset[str], faults: list[Fault]) -> SweepConfig | None:
    """The config without its faulty keys, plausible ones in their place; what the rules say now joins the faults."""
    stand_ins = {"name": "rest", "method": "random"} | ({"num_trials": 1} if "num_trials" in omitted else {})
    kept = {key: value for key, value in data.items() if key not in omitted}
    kept["parameters"] = _sound_parameters(data.get("parameters"), omitted)
    if not kept["parameters"]:
        return None
    try:
        return SweepConfig.model_validate({**stand_ins, **kept}, context={"omitted": omitted})
    except ValidationError as error:
        new = [fault for fault in explain(error, kept) if fault not in faults]
        faults += new
        more = omitted | _faulty_names(new)
        return _rest(data, more, faults) if more > omitted else None


def _sound_parameters(parameters: Any, omitted: frozenset[str]) -> dict[str, Any]:
    """Those without faults, and without conditions on what has faults."""
    sound = {n: spec for n, spec in parameters.items() if n not in omitted} if isinstance(parameters, dict) else {}
    lost = {n for n, spec in sound.items() if isinstance(spec, dict) and set(spec.get("when") or ()) & omitted}
    return _sound_parameters(sound, omitted | lost) if lost else sound


def _faulty_names(faults: list[Fault]) -> frozenset[str]:
    """Top-level keys that have faults, and parameters that have."""
    names = set()
    for (top, *rest), _ in faults:
        names.add(str(rest[0] if top == "parameters" and rest else top))
    return frozenset(names)


def _problems(faults: list[Fault], translation: Translation, document: Document) -> list[Problem]:
    problems = []
    for keys, message in faults:
        origin = translation.origin(keys)
        if any(origin[: len(broken)] == broken[: len(origin)] for broken in document.broken):
            continue  # it follows from a value that could not be read
        field = str(keys[1]) if keys[:1] == ("parameters",) and len(keys) > 1 else dotted(keys)
        if origin != keys:
            message = message.replace(dotted(keys), dotted(origin), 1)
        problems.append(Problem(message=message, field=field, place=document.place(origin)))
    return list(dict.fromkeys(problems))


def _reading_order(problem: Problem) -> tuple[bool, list[int]]:
    # By line and column; overrides, which have none, last.
    numbers = re.findall(r":(\d+):(\d+)$", problem.place or "")
    return (not numbers, [int(n) for n in numbers[0]] if numbers else [])
