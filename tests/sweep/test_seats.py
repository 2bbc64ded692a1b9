"""How many trials an engine of a cluster offers to train, by its memory."""

from __future__ import annotations

import pytest

from grokray.engine.memory import state_bytes
from grokray.engine.shape import shape_of
from grokray.records.store import Store
from grokray.sweep import seats
from grokray.sweep.load import load_sweep
from grokray.sweep.samples import sample_of_trials
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig
from tests.sweep.sweeps import write

STORE = Store.from_uri("nowhere")  # no trial is made of files


@pytest.fixture
def sample(tmp_path):
    """Trials of two widths."""
    two_widths = {"dim_model: {value: 16}": "dim_model: {values: [16, 64]}"}
    return sample_of_trials(load_sweep(write(tmp_path, **two_widths)))


def test_as_many_as_fit_in_half_of_the_memory_by_the_largest_trial(sample, monkeypatch):
    sizes = [state_bytes(shape_of(build_dataset(TrialConfig.model_validate(config)))) for config in sample]
    assert len(set(sizes)) == 2
    monkeypatch.setattr(seats, "_memory", lambda device: 2 * 7 * max(sizes))
    assert seats.seats_that_fit(50, sample, "cpu", STORE) == 7
    assert seats.seats_that_fit(5, sample, "cpu", STORE) == 5


def test_an_engine_has_one_seat_at_least(sample, monkeypatch):
    monkeypatch.setattr(seats, "_memory", lambda device: 1.0)
    assert seats.seats_that_fit(50, sample, "cpu", STORE) == 1


@pytest.mark.ray
def test_a_core_has_its_part_of_the_nodes_memory(ray_up):
    import ray

    resources = ray.nodes()[0]["Resources"]
    assert seats._memory("cpu") == pytest.approx(resources["memory"] / resources["CPU"])
    assert seats._memory("cpu") > 100e6
