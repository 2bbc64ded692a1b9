from __future__ import annotations

import math

import pytest

from grokray.engine.engine import Engine, Measurement
from tests.engine.conftest import alone, curve, run, small
from tests.engine.test_options import OPTIONS

# The compiler itself uses what PyTorch calls deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]

PLAIN = {"dropout": 0.1, "num_layers": 1}


def compiled(*configs) -> list[list[Measurement]]:
    """The curves of trials that train together."""
    engine = Engine(compile="on")
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    curves = run(engine)
    return [curves[str(i)] for i in range(len(configs))]


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("options", [PLAIN, OPTIONS["all"] | {"num_layers": 1}], ids=["plain", "all options"])
def test_compiled_curves_are_the_eager_ones(options, slots):
    configs = [small(**options, seed=seed, measure="weight_norm,update_norm") for seed in range(slots)]
    for config, found in zip(configs, compiled(*configs), strict=True):
        eager = alone(config)
        assert [m.step for m in found] == [m.step for m in eager] == [20, 40, 60]
        for m, reference in zip(found, eager, strict=True):
            assert m.metrics.keys() == reference.metrics.keys()
            for name, value in reference.metrics.items():
                assert math.isclose(m.metrics[name], value, rel_tol=1e-4, abs_tol=1e-4), (m.step, name)


def test_a_compiled_trial_does_not_feel_its_neighbours_in_the_same_bucket():
    config = small(**PLAIN, seed=9)

    def beside(*neighbours: dict) -> list:
        return curve(compiled(config, *(small(**(PLAIN | n)) for n in neighbours))[0])

    assert beside({"seed": 1}) == beside({"seed": 2, "learning_rate": 0.1, "dropout": 0.5})
    assert beside({"seed": 1}, {"seed": 2}) == beside({"seed": 3}, {"seed": 4}, {"seed": 5})
