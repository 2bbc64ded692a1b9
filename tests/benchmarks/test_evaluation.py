from __future__ import annotations

import evaluation
import pytest


def test_an_evaluation_is_set_beside_the_steps_between_two(monkeypatch):
    monkeypatch.setattr(evaluation, "MODES", ("off",))
    monkeypatch.setattr(evaluation, "ROUNDS", 1)
    tiny = {"operation": "x+y_mod", "modulus": 11, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 16}
    found = evaluation.run_case("narrow", tiny, seconds=0.01)
    (values,) = found.values()
    assert [*found] == ["narrow, eager"]
    assert values["rows"] == 121
    assert values["steps"] == pytest.approx(values["evaluation_ms"] / values["step_ms"])
    assert values["share"] == pytest.approx(values["steps"] / (values["steps"] + evaluation.INTERVAL))
