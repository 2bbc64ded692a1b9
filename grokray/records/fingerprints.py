"""Fingerprints of two search spaces compared: what differs, and whether the one is the other grown.

A fingerprint maps every setting that defines a search space to its value, as `SweepConfig.fingerprint` has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from grokray.wording import listed

NUM_TRIALS = "num_trials"  # may be raised: what was proposed so far is what would be proposed first
MOMENTS = "parameters.initial_optimizer"
SEEDS = "seeds"  # may get others: no trial knows of the other seeds
TPE = '"tpe"'
_ABSENT = object()
_HASH = re.compile("[0-9a-f]{16}")
_VALUE_CHARACTERS, _CUT = 60, "…"

Fingerprint = Mapping[str, Any]


def differing(was: Fingerprint, now: Fingerprint) -> list[str]:
    """The settings that are not the same. In which order seeds stand makes no other sweep."""
    return [name for name in sorted(was.keys() | now.keys()) if _compared(was, name) != _compared(now, name)]


def has_grown(was: Fingerprint, now: Fingerprint) -> bool:
    """Whether both are of one search space, of which the latter has more configurations, more seeds, or both."""
    names = differing(was, now)
    return bool(names) and all(_grows(name, was, now) for name in names)


def growth(was: Fingerprint, now: Fingerprint) -> str:
    """Of one that has grown, by what: `num_trials was 3, is now 5; seeds are now with 2`."""
    return "; ".join(difference(name, was, now) for name in differing(was, now))


def why_not_grown(was: Fingerprint, now: Fingerprint) -> str | None:
    """Where only what may grow differs, but does not: what would be allowed, for people. No seed in common is another
    sweep, such as that of one trial that `grokray train` makes."""
    names = differing(was, now)
    if not names or not {*names} <= {NUM_TRIALS, SEEDS} or not {*(seeds_of(was) or ())} & {*(seeds_of(now) or ())}:
        return None
    if SEEDS in names and was.get("method") == TPE:
        return f"tpe chose each configuration by what all seeds of others gave: leave {SEEDS} as they were"
    left = [_as_it_was(name, was, now) for name in names if not _grows(name, was, now)]
    return f"a sweep may grow, but not shrink: leave {' and '.join(left)}"


def difference(name: str, was: Fingerprint, now: Fingerprint) -> str:
    """Of lists of names, and of many seeds, only those that one of them lacks: they may be cut before they differ."""
    if None not in (held := [_held(settings.get(name)) for settings in (was, now)]):
        taken = "weights or moments" if '"checkpoint"' in str(now.get(MOMENTS)) else "weights"
        what = {"data_dir": "tasks", "data_file": "rows"}.get(name.rpartition(".")[2], taken)
        return f"{name} holds other {what}: their hash was {held[0]}, is now {held[1]}"
    shown = [_shown(settings, name) for settings in (was, now)]
    before, after = _members(name, was), _members(name, now)
    few = name == SEEDS and not any(text.endswith(_CUT) for text in shown)
    if before is None or after is None or few:
        return f"{name} was {shown[0]}, is now {shown[1]}"
    gone, new = _without(before, after), _without(after, before)
    if not gone and not new:
        return f"{name} stand in another order"
    said = ("without", gone), ("with", new)
    return f"{name} are now " + " and ".join(f"{word} {listed(names)}" for word, names in said if names)


def seeds_of(settings: Fingerprint) -> list[str] | None:
    """As texts, in their order; None where they are no list of whole numbers."""
    found = _parsed(settings.get(SEEDS))
    is_sound = isinstance(found, list) and all(type(seed) is int for seed in found)
    return [str(seed) for seed in found] if is_sound else None


def _compared(settings: Fingerprint, name: str) -> Any:
    value = settings.get(name, _ABSENT)
    seeds = seeds_of(settings) if name == SEEDS else None
    return value if seeds is None else {*seeds}


def _grows(name: str, was: Fingerprint, now: Fingerprint) -> bool:
    if name == NUM_TRIALS:
        return _limit(was) < _limit(now)
    if name != SEEDS or was.get("method") == TPE:
        return False
    before, after = seeds_of(was), seeds_of(now)
    return before is not None and after is not None and {*before} < {*after}


def _as_it_was(name: str, was: Fingerprint, now: Fingerprint) -> str:
    if name == NUM_TRIALS:
        return f"{NUM_TRIALS} as it was"
    gone = _without(seeds_of(was) or [], seeds_of(now) or [])
    return f"{'seed' if len(gone) == 1 else 'seeds'} {listed(gone)} in"


def _without(these: list[str], others: list[str]) -> list[str]:
    known = {*others}
    return [one for one in these if one not in known]


def _limit(settings: Fingerprint) -> float:
    """Of configurations; a grid without one has all that there are. Not a number where none is told."""
    value = settings.get(NUM_TRIALS, math.nan)
    if value in (None, "null"):
        return math.inf
    return float(value) if str(value).isdecimal() else math.nan


def _members(name: str, settings: Fingerprint) -> list[str] | None:
    """Of a list of texts, or of seeds; None of anything else."""
    if name == SEEDS:
        return seeds_of(settings)
    found = _parsed(settings.get(name))
    return found if isinstance(found, list) and found and all(isinstance(name, str) for name in found) else None


def _held(setting: Any) -> str | None:
    """The hash of what the one path leads to, where a setting is that."""
    found = _parsed(setting)
    holds = found.get("holds") if isinstance(found, dict) and len(found) == 1 else None
    hashes = holds[0] if isinstance(holds, list) and len(holds) == 1 else ()
    return ", ".join(hashes) if hashes and all(_HASH.fullmatch(str(one)) for one in hashes) else None


def _parsed(setting: Any) -> Any:
    """What a setting says as JSON; None where it is none."""
    try:
        return json.loads(setting) if isinstance(setting, str) else None
    except ValueError:
        return None


def _shown(settings: Fingerprint, name: str) -> str:
    if name not in settings:
        return "absent"
    value = settings[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text == "null":
        return "left out"
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + _CUT
