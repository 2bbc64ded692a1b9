"""Whatever stands in a file: a sweep that holds together, or a ConfigError. Never anything else."""

from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from grokray.errors import ConfigError
from grokray.sweep.grammar import KEYS
from grokray.sweep.load import load_text

quick = settings(max_examples=150)

SCRAPS = st.sampled_from(
    [
        "method",
        "grid",
        "tpe",
        "parameters",
        "dropout",
        "base",
        "value",
        "values",
        "min",
        "max",
        "when",
        "trial",
        "seeds",
    ]
    + [": ", ":\n  ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "1", "0.5", "1e-3", "&a ", "*a", "!!int ", "'", '"']
    + ["|\n", "? ", "#", "%", "<<", "null", ".inf", "\t", "\\U99999999", "---\n", "0x", "9" * 30, "é", "\x00", "=", "~"]
)

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["x/y", "sequence", "", "a"]))
numbers = st.one_of(st.integers(-3, 200), st.floats(-2, 2), st.floats(), st.integers())
names = st.sampled_from(["operation", "task_type", "base", "dropout", "num_heads", "modulus", "seed", "device", "oops"])
parameter = st.fixed_dictionaries(
    {},
    optional={
        "value": st.one_of(scalars, st.lists(scalars, max_size=3)),
        "values": st.lists(scalars, max_size=4),
        "probabilities": st.lists(numbers, max_size=4),
        "distribution": st.sampled_from([*KEYS, "beta"]),
        "min": numbers,
        "max": numbers,
        "mu": numbers,
        "sigma": numbers,
        "q": numbers,
        "when": st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=2),
    },
)
ranges = st.builds(
    lambda kind, low, high, q: {"distribution": kind, "min": low, "max": high, **({"q": q} if "q_" in kind else {})},
    st.sampled_from([kind for kind in KEYS if "uniform" in kind or "normal" in kind]),
    numbers,
    numbers,
    numbers,
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
sweeps = st.fixed_dictionaries(
    {"method": st.sampled_from(["grid", "random", "tpe", "bayes"]), "num_trials": st.one_of(st.just(3), scalars)},
    optional={
        "parameters": st.dictionaries(names, st.one_of(parameter, ranges, scalars), max_size=4),
        "trial": st.one_of(anything, st.fixed_dictionaries({"sustain": numbers})),
        "scheduler": anything,
        "seeds": anything,
        "metric": anything,
        "resources": anything,
        "notes": anything,
        "name": scalars,
        "run_cap": scalars,
        "execution": st.sampled_from(["fused", "process", "both"]),
    },
)


def loads_or_refuses(text: str, *overrides: str) -> None:
    with suppress(ConfigError):
        config = load_text(text, "f.yaml", "f", overrides=overrides)
        assert load_text(config.to_yaml(), "f.yaml", "f") == config
        config.trial_config(config.from_units([0.5] * config.dimensions()), 0)


@quick
@example("&a : &a ")  # an anchor used twice
@given(st.lists(SCRAPS, max_size=25).map("".join))
def test_scraps_of_yaml(text: str) -> None:
    loads_or_refuses(text)


@quick
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    loads_or_refuses(text)


@quick
@given(sweeps)
def test_sweeps_with_anything_in_them(data: dict[str, Any]) -> None:
    text = StringIO()
    YAML(typ="safe", pure=True).dump(data, text)
    loads_or_refuses(text.getvalue())


@quick
@given(st.text(max_size=30), SCRAPS)
def test_overrides(text: str, key: str) -> None:
    base = "method: grid\nparameters: {dropout: {value: 0}}"
    for override in (text, f"{key}={text}", f"parameters.{key}={text}"):
        loads_or_refuses(base, override)
