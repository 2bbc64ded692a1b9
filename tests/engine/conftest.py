from __future__ import annotations

import pytest
import torch

from grokray.engine.engine import Engine, Measurement
from grokray.engine.recordings import Recordings
from grokray.tasks.resolve import resolve
from grokray.trial import TrialConfig

SMALL = {
    "operation": "x+y_mod",
    "modulus": 11,
    "num_layers": 2,
    "dim_model": 16,
    "num_heads": 2,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "num_steps": 30,
    "eval_interval": 10,
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes: object) -> TrialConfig:
    return resolve({**SMALL, **changes})


def run(engine: Engine) -> dict[str, list[Measurement]]:
    """Everything that is measured until nobody trains any more, by trial."""
    curves: dict[str, list[Measurement]] = {}
    while engine.training:
        for m in engine.next():
            curves.setdefault(m.trial, []).append(m)
    return curves


def alone(config: TrialConfig, **options) -> list[Measurement]:
    engine = Engine(**options)
    engine.join("alone", config)
    return run(engine)["alone"]


def curve(measurements: list[Measurement]) -> list[tuple[int, dict[str, float]]]:
    return [(m.step, m.metrics) for m in measurements]


@pytest.fixture
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def of_three_at_most(monkeypatch) -> list[int]:
    """Evaluations of more slots than three do not fit from here on; the sizes that were tried."""
    totals, sizes = Recordings.totals, []

    def tried(self, parameters, *args):
        sizes.append(len(parameters))
        if len(parameters) > 3:
            raise torch.OutOfMemoryError("pretended")
        return totals(self, parameters, *args)

    monkeypatch.setattr(Recordings, "totals", tried)
    return sizes
