"""The distributions: quantiles against their definitions, Optuna's suggestions, what a grid and a check see."""

import math
from collections import Counter

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokray.sweep.multiples import MAX_EXTREMES
from grokray.sweep.parameters import Parameter

# Spec, and a test that each of its values must pass.
SPECS = {
    "value": ({"value": 128}, lambda v: v == 128),
    "null": ({"value": None}, lambda v: v is None),
    "values": ({"values": ["a", 1, True, None]}, lambda v: v in ("a", 1, True, None)),
    "probabilities": ({"values": [1, 2, 3], "probabilities": [0.5, 0.5, 0]}, lambda v: v in (1, 2)),
    "int_uniform": ({"min": 2, "max": 5}, lambda v: isinstance(v, int) and 2 <= v <= 5),
    "uniform": ({"min": 0.2, "max": 1}, lambda v: isinstance(v, float) and 0.2 <= v <= 1),
    "q_uniform": (
        {"distribution": "q_uniform", "min": 0.1, "max": 0.55, "q": 0.1},
        lambda v: v in (0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    "whole q": ({"distribution": "q_uniform", "min": 3, "max": 9, "q": 4}, lambda v: v in (4, 8) and type(v) is int),
    "log_uniform": ({"distribution": "log_uniform", "min": -3, "max": 0}, lambda v: math.exp(-3) <= v <= 1),
    "log_uniform_values": ({"distribution": "log_uniform_values", "min": 0.01, "max": 3}, lambda v: 0.01 <= v <= 3),
    "inverse": ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 3}, lambda v: 0.01 <= v <= 3),
    "q_log_uniform": ({"distribution": "q_log_uniform", "min": 0, "max": 3, "q": 2}, lambda v: v in range(2, 21, 2)),
    "q_log_uniform_values": (
        {"distribution": "q_log_uniform_values", "min": 1, "max": 1000, "q": 5},
        lambda v: v in range(5, 1001, 5),
    ),
    "normal": ({"distribution": "normal", "mu": 3, "sigma": 2}, lambda v: -10 < v < 16),
    "cut normal": ({"distribution": "normal", "min": 0, "max": 0.5}, lambda v: 0 <= v <= 0.5),
    "log_normal": ({"distribution": "log_normal", "mu": -3, "sigma": 1}, lambda v: 0 < v < math.exp(4)),
    "q_normal": ({"distribution": "q_normal", "sigma": 9, "q": 3}, lambda v: v % 3 == 0 and type(v) is int),
    "q_log_normal": (
        {"distribution": "q_log_normal", "min": 0.1, "max": 2.3, "q": 0.5},
        lambda v: v in (0.5, 1.0, 1.5, 2.0),
    ),
}


@pytest.fixture(params=SPECS)
def case(request):
    spec, allowed = SPECS[request.param]
    return Parameter.model_validate(spec), allowed


def test_every_quantile_is_allowed(case) -> None:
    parameter, allowed = case
    us = [0.0, *(i / 97 for i in range(97)), math.nextafter(1, 0)]
    assert all(allowed(parameter.from_unit(u)) for u in us)


def test_every_suggestion_is_allowed(case) -> None:
    parameter, allowed = case
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [parameter.suggest(study.ask(), "x") for _ in range(50)]
    assert all(allowed(value) for value in values)
    assert len(set(values)) == 1 if parameter.is_fixed else len(set(values)) > 1


def test_every_extreme_is_allowed(case) -> None:
    parameter, allowed = case
    assert all(allowed(value) for value in parameter.extremes() if parameter.probabilities is None)


def test_what_a_grid_lists_is_what_quantiles_reach(case) -> None:
    parameter, _ = case
    listed = parameter.grid_values()
    reached = {parameter.from_unit(u / 1000) for u in range(1000)}
    if listed is None:
        assert len(reached) > 2
    elif parameter.probabilities is None:
        assert set(listed) == reached
        assert len(listed) == len(list(listed))


def test_a_spec_loads_back(case) -> None:
    parameter, _ = case
    assert Parameter.model_validate(parameter.spec()) == parameter


def test_quantiles_by_hand() -> None:
    def at(u: float, **spec: object) -> object:
        return Parameter.model_validate(spec).from_unit(u)

    assert at(0.25, min=0.0, max=2.0) == 0.5
    assert at(0.5, distribution="log_uniform_values", min=0.01, max=1) == pytest.approx(0.1)
    assert at(0.5, distribution="log_uniform", min=0, max=2) == pytest.approx(math.e)
    assert at(0.5, distribution="normal", mu=3, sigma=2) == pytest.approx(3)
    assert at(0.841344746, distribution="normal", mu=3, sigma=2) == pytest.approx(5)
    assert at(0.841344746, distribution="log_normal", mu=0, sigma=1) == pytest.approx(math.e)
    assert at(0.5, distribution="normal", mu=0, sigma=1, min=0) == pytest.approx(0.67449, abs=1e-5)
    assert [at(u, values=[1, 2], probabilities=[0.9, 0.1]) for u in (0.0, 0.89, 0.91)] == [1, 1, 2]


def test_each_value_is_equally_likely() -> None:
    parameter = Parameter.model_validate({"min": 1, "max": 4})
    assert Counter(parameter.from_unit(u / 400) for u in range(400)) == {1: 100, 2: 100, 3: 100, 4: 100}


def test_optuna_sees_what_is_searched() -> None:
    trial = optuna.create_study().ask()
    for name, spec in (("a", "log_uniform_values"), ("b", "normal")):
        Parameter.model_validate({"distribution": spec, "min": 1, "max": 2}).suggest(trial, name)
    Parameter.model_validate({"distribution": "q_uniform", "min": 2, "max": 9, "q": 2}).suggest(trial, "c")
    Parameter.model_validate({"value": 3}).suggest(trial, "d")
    assert trial.distributions == {
        "a": optuna.distributions.FloatDistribution(1, 2, log=True),
        "b:u": optuna.distributions.FloatDistribution(0, 1),
        "c": optuna.distributions.IntDistribution(2, 8, step=2),
    }


def test_a_long_range_is_tried_out_evenly() -> None:
    values = Parameter.model_validate({"min": 0, "max": 630}).extremes()
    assert values == tuple(range(0, 631, 10))
    assert len(values) == MAX_EXTREMES


def test_a_range_of_millions_is_not_held() -> None:
    listed = Parameter.model_validate({"distribution": "q_uniform", "min": 0, "max": 10**9, "q": 0.001}).grid_values()
    assert listed is not None
    assert len(listed) == 10**12 + 1
    assert listed[123_456] == 123.456
    assert list(listed[1:3]) == [0.001, 0.002]


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), q=st.sampled_from([1, 3, 0.1, 0.25]), u=st.floats(0, 1))
def test_multiples_stay_in_their_range(low: float, width: float, q: float, u: float) -> None:
    spec = {"distribution": "q_uniform", "min": low, "max": low + max(width, 2 * q), "q": q}
    value = Parameter.model_validate(spec).from_unit(u)
    assert isinstance(value, int | float)
    assert spec["min"] <= value <= spec["max"]
    assert value / q == pytest.approx(round(value / q), abs=1e-6)
