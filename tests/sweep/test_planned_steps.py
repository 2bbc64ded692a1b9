"""Whether a sweep's kernels are compiled: what is planned of each shape, and that it is decided once for a trial."""

from __future__ import annotations

import pytest

import grokray.engine.engine as of_engine
import grokray.engine.stack as of_stack
from grokray.engine.backends import backend_for
from grokray.engine.payoff import Planned
from grokray.records.folder import SweepFolder
from grokray.sweep.assignment import Assignment
from grokray.sweep.cluster import Machine
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep, load_text
from grokray.sweep.placement import company_in_an_engine, share_of_an_engine, worker_options
from grokray.sweep.trainer import Trainer
from tests.engine.conftest import small
from tests.sweep.sweeps import GRID, write

SEATS = """
name: x
method: grid
seeds: 32
{resources}
{execution}
parameters:
  modulus: {{value: 23}}
  dim_model: {{value: 16}}
"""


def planned(parameters: str, more: str = "", *, num_steps: int = 1000, method: str = "grid", seeds: int = 2) -> float:
    head = f"name: x\nmethod: {method}\nseeds: {seeds}\n{more}\nparameters:\n"
    parameters = f"  modulus: {{value: 23}}\n  num_steps: {{value: {num_steps}}}\n{parameters}"
    config = load_text(head + parameters, "x.yaml", "x")
    return config.planned_steps(num_steps)


def test_every_trial_is_planned_to_its_budget():
    assert planned("  weight_decay: {values: [0.1, 1, 2]}\n") == 3 * 2 * 1000


def test_whether_parts_have_rates_of_their_own_makes_two_shapes_whatever_the_rates():
    assert planned("  embedding_learning_rate: {values: [null, 0, 1e-3, 1e-2]}\n") == 4 * 2 * 1000 / 2
    assert planned("  embedding_weight_decay: {values: [0, 1]}\n") == 2 * 2 * 1000
    assert planned("  frozen_parts: {values: [null, head, embeddings]}\n") == 3 * 2 * 1000 / 2


def test_shapes_share_what_is_planned_and_other_parameters_do_not():
    assert planned("  dim_model: {values: [16, 32]}\n  dropout: {values: [0, 0.1, 0.2]}\n") == 2 * 3 * 2 * 1000 / 2
    assert planned("  dim_model: {values: [16, 32]}\n  num_layers: {values: [1, 2]}\n", seeds=1) == 1000


@pytest.mark.parametrize(("values", "shapes"), [("[0, 0.1, 0.2]", 2), ("[0.1, 0.2]", 1), ("[0.0]", 1)])
def test_inputs_with_noise_are_another_shape_however_much_it_is(values, shapes):
    number = values.count(",") + 1
    assert planned(f"  input_noise: {{values: {values}}}\n") == number * 2 * 1000 / shapes


def test_a_grid_cut_short_plans_fewer():
    assert planned("  weight_decay: {values: [0.1, 1, 2]}\n", "num_trials: 2") == 2 * 2 * 1000


def test_a_range_that_sets_no_shape_apart_counts_once():
    drawn = "  weight_decay: {distribution: uniform, min: 0, max: 1}\n"
    assert planned(drawn, "num_trials: 50", method="random") == 50 * 2 * 1000


def test_asha_plans_a_grace_period_for_each_rung_and_never_more_than_the_budget():
    """Rungs at 100 and 300 of 800 steps; of those stopped a share is audited, and runs to the end."""
    asha = "scheduler: {type: asha, grace_period: 100, reduction_factor: 3, audit_fraction: 0}"
    assert planned("", asha, num_steps=800, seeds=1) == 3 * 100
    assert planned("", asha.replace(": 0}", ": 0.1}"), num_steps=800, seeds=1) == 0.9 * 300 + 0.1 * 800
    late = "scheduler: {type: asha, grace_period: 500, reduction_factor: 3}"
    assert planned("", late, num_steps=800, seeds=1) == 800


def test_grok_asha_plans_that_a_share_is_stopped_from_the_second_rung_on():
    """Rungs at 100, 200 and 400 of 800 steps: all go to 200, three quarters to 400, and (3/4)² to the end."""
    grok_asha = "scheduler: {type: grok_asha, grace_period: 100, stop_share: 0.25, audit_fraction: 0}"
    assert planned("", grok_asha, num_steps=800, seeds=1) == 200 + 0.75 * 200 + 0.75**2 * 400
    audited = grok_asha.replace("audit_fraction: 0}", "audit_fraction: 1}")
    assert planned("", audited, num_steps=800, seeds=1) == 800


@pytest.mark.parametrize(("cpus", "share"), [(1, 1.0), (4, 1 / 4), (64, 1 / 32)])
def test_an_engine_gets_its_share_of_the_machine_and_of_the_trials(tmp_path, cpus, share):
    assert share_of_an_engine(load_sweep(write(tmp_path)), Machine(cpus=cpus, gpus=0)) == share


@pytest.mark.parametrize(
    ("more", "cpus", "company"),
    [
        ({}, 1, 20),
        ({"resources": "resources: {cpu: 0.25}"}, 1, 4),
        ({}, 4, 32 / 4),
        ({}, 64, 1),
        ({"execution": "execution: process"}, 1, 1),
    ],
)
def test_an_engine_has_as_many_trials_at_once_as_it_has_seats_and_gets(more, cpus, company):
    config = load_text(SEATS.format(**{"resources": "", "execution": ""} | more), "x.yaml", "x")
    assert company_in_an_engine(config, Machine(cpus=cpus, gpus=0)) == company
    assert worker_options(config, Machine(cpus=cpus, gpus=0), "unused").company == company


def test_trials_of_other_shapes_are_no_company():
    two = SEATS.format(resources="", execution="").replace("{value: 16}", "{values: [16, 32]}")
    assert company_in_an_engine(load_text(two, "x.yaml", "x"), Machine(cpus=4, gpus=0)) == 16 / 2


def open_ledger(folder, **replaced) -> Ledger:
    config = load_sweep(write(folder, **replaced))
    meta = {"versions": {}, "command": "test"}
    return Ledger(SweepFolder.create_or_open(folder / "out", config.to_yaml(), config.fingerprint(), meta), config)


def test_what_is_left_of_a_sweep_makes_no_difference(tmp_path):
    """31 of 32 trials have ended: the last one, begun now, gets the kernels that it would have had at the start."""
    ledger = open_ledger(tmp_path)

    def planned_of_an_engine() -> float:
        options = worker_options(ledger.config, Machine(cpus=4, gpus=0), "unused")
        return ledger.config.planned_steps(300) * options.share

    before = planned_of_an_engine()
    for _ in range(31):
        assignment = ledger.next_assignment()
        assert assignment is not None
        ledger.end(assignment.trial_id, "failed", error="as it may be")
    assert ledger.to_run == 1
    assert planned_of_an_engine() == before == 32 * 300 / 4


def test_an_assignment_says_what_is_planned_and_with_what_kernels_the_trial_began(tmp_path):
    ledger = open_ledger(tmp_path)
    first, second = ledger.next_assignment(), ledger.next_assignment()
    assert first is not None
    assert second is not None
    assert (first.planned_steps, first.compiled) == (32 * 300, None)
    for assignment, compiled in ((first, True), (second, False)):
        ledger.write("start", trial_id=assignment.trial_id, attempt=0, step=0)
        ledger.write("kernels", trial_id=assignment.trial_id, compiled=compiled)
    again = open_ledger(tmp_path)
    assert [again.next_assignment().compiled for _ in range(3)] == [True, False, None]  # type: ignore[union-attr]


# -- in the trainer


@pytest.fixture
def asked(monkeypatch) -> list[tuple[float, float]]:
    """The trial-steps and the company that `auto` was asked about, each time; it compiles from 1,000 trial-steps on,
    and the kernels are eager ones."""
    asked: list[tuple[float, float]] = []

    def pays(shape, device, planned: Planned) -> bool:
        asked.append((planned.steps, planned.company))
        return planned.steps >= 1000

    monkeypatch.setattr(of_engine, "compiling_pays", pays)
    monkeypatch.setattr(of_stack, "backend_for", lambda *args, compiled: backend_for(*args, compiled=False))
    return asked


def began(tmp_path, *, share: float = 1.0, company: float = 1.0, compile="auto", **fields) -> bool:
    """Whether the trial is said to be trained by compiled kernels."""
    config = small(num_layers=1, num_steps=20)
    folder = SweepFolder.create_or_open(tmp_path / "out", GRID, {}, {"versions": {}, "command": "test"})
    trainer = Trainer(folder.store, role="test", share=share, company=company, compile=compile)
    trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **fields))
    trainer.stop(config.id, save=True)
    trainer.close()
    (said,) = [e for chunk in folder.reader().chunks() for e in chunk if e["event"] == "kernels"][-1:]
    assert said["trial_id"] == config.id
    return said["compiled"]


def test_auto_is_asked_with_the_engines_share_and_the_answer_is_written_down(tmp_path, asked):
    assert began(tmp_path, planned_steps=2000.0, share=0.5, company=7.0) is True
    assert began(tmp_path, planned_steps=2000.0, share=0.25) is False
    assert began(tmp_path, company=7.0) is False
    assert asked == [(1000, 7), (500, 1), (20, 1)]  # a trial alone plans its own steps


def test_a_trial_that_has_begun_keeps_its_kernels_whatever_is_planned_or_set(tmp_path, asked):
    assert began(tmp_path, planned_steps=1.0, compiled=True) is True
    assert began(tmp_path, compile="off", compiled=True) is True
    assert began(tmp_path, compile="on", compiled=False) is False
    assert began(tmp_path, compile="off") is False
    assert began(tmp_path, compile="on") is True
    assert asked == []
