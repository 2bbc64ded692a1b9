"""What the trainer writes of a measurement, and what the records read of it."""

from __future__ import annotations

from pathlib import Path

from grokray.records.journal import Event
from grokray.records.journal_reader import JournalReader
from grokray.records.state import SweepState
from grokray.records.store import Store
from grokray.sweep.assignment import Assignment
from grokray.sweep.load import load_text
from grokray.sweep.trainer import Trainer
from grokray.trial import TrialConfig
from tests.engine.conftest import small


def written(folder: Path, config: TrialConfig) -> list[Event]:
    """The events of a trial that runs to its end."""
    store = Store.from_uri(folder)
    trainer = Trainer(store, role="test")
    trainer.start(Assignment(trial_id=config.id, config=config.model_dump()))
    while trainer.trials:
        trainer.turn()
    trainer.close()
    return [event for chunk in JournalReader(store).chunks() for event in chunk]


def small_trial(**changes: object) -> TrialConfig:
    return small(**{"num_layers": 1, "num_steps": 60, "eval_interval": 20} | changes)


def test_each_task_is_written_with_its_metrics_and_events(tmp_path):
    easy = {"operation": "x+y_mod,expr:0*x+0*y", "threshold": 0.9, "sustain": 1, "learning_rate": 1e-2}
    config = small_trial(**easy)
    hard_name, easy_name = config.operation.split(",")
    events = written(tmp_path, config)
    last = [event for event in events if event["event"] == "measurement"][-1]
    assert list(last["tasks"]) == [hard_name, easy_name]
    assert last["tasks"][easy_name]["heldout_exact_match"] == 1.0
    assert last["tasks"][hard_name].keys() == last["metrics"].keys()
    assert last["task_events"][easy_name]["grok_step"] == 20
    assert "grok_step" not in last["task_events"][hard_name]
    state = SweepState()
    state.apply({"t": 0.0, "event": "trial", "trial_id": config.id, "index": 0, "configuration": 0, "config": {}})
    state.apply_all(events)
    assert state.trials[config.id].task_events[easy_name]["grok_step"] == 20


def test_a_single_task_is_written_as_ever(tmp_path):
    events = written(tmp_path, small_trial())
    measured = [event for event in events if event["event"] == "measurement"]
    assert len(measured) == 3
    for event in measured:
        assert event.keys() == {"t", "event", "trial_id", "attempt", "step", "metrics", "events", "wall_time_s"}


def test_what_is_measured_besides_stands_among_the_metrics(tmp_path):
    events = written(tmp_path, small_trial(measure="weight_norm,fourier_gini"))
    metrics = [event["metrics"] for event in events if event["event"] == "measurement"][-1]
    assert list(metrics)[-2:] == ["weight_norm", "fourier_gini"]
    assert metrics["weight_norm"] > 0


def test_a_search_space_names_them_as_a_list_or_as_one_text():
    text = "method: grid\nparameters: {operation: {value: x+y_mod}}\ntrial: {measure: MEASURE}\n"
    plain, *given = (
        load_text(text.replace("MEASURE", measure), "a.yaml", "a")
        for measure in ("''", "[logit_scale, weight_norm]", "'weight_norm, logit_scale'")
    )
    for config in given:
        assert config.trial_config(next(config.grid()), 0).measures == ("weight_norm", "logit_scale")
        assert config.fingerprint().keys() - plain.fingerprint().keys() == {"trial.measure"}
    assert plain.trial_config(next(plain.grid()), 0).measures == ()
