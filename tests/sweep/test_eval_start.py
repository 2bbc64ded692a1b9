"""Curves that begin before the first step: `eval_start`."""

from __future__ import annotations

import math

import pytest

import grokray
from grokray.analysis.findings.typical import typical_trials
from grokray.cli.main import main
from grokray.engine.engine import Engine
from grokray.engine.restored import measure, restored
from grokray.errors import ConfigError
from grokray.records.folder import SweepFolder
from grokray.records.store import Store
from grokray.records.tables import read_curves, read_trials
from grokray.sweep.assignment import Assignment
from grokray.sweep.initial import first_checkpoint, resolved
from grokray.sweep.load import load_sweep
from grokray.sweep.trainer import Trainer
from tests.engine.conftest import alone, curve, run, small

MEASURES = "weight_norm,update_norm,gradient_norm,logit_scale"
SETTINGS = {
    **{"operation": "x+y_mod", "modulus": 7, "num_layers": 1, "dim_model": 8, "num_heads": 2, "batch_size": 16},
    **{"num_steps": 40, "eval_interval": 10},
}
KEPT = {"keep_checkpoints": "all", "examples": 2, "checkpoint_interval": 10}


def test_a_curve_has_a_row_more_and_is_otherwise_the_same():
    plain, more = small(measure=MEASURES), small(measure=MEASURES, eval_start=True)
    assert plain.id != more.id
    first, *rest = alone(more)
    assert curve(rest) == curve(alone(plain))
    assert (first.step, first.outcome) == (0, None)
    assert first.metrics.keys() == rest[0].metrics.keys() - {"update_norm", "gradient_norm"}
    assert first.metrics == measure(restored(first_checkpoint(more))).metrics
    assert [m.events for m in rest] == [m.events for m in alone(plain)]


def test_it_is_measured_once_in_any_company_and_slot():
    engine = Engine()
    config, late = small(eval_start=True, seed=1), small(eval_start=True, seed=2)
    for number in range(3):
        engine.join(f"plain {number}", small(seed=number))
    engine.join("own", config)
    curves = {m.trial: [m] for m in engine.next()}
    assert [*curves] == ["own"]
    engine.join("late", late)
    for trial, found in run(engine).items():
        curves[trial] = curves.get(trial, []) + found
    assert [m.step for m in curves["own"]] == [0, 10, 20, 30]
    assert curve(curves["own"]) == curve(alone(config))
    assert curve(curves["late"]) == curve(alone(late))
    assert [m.step for m in curves["plain 0"]] == [10, 20, 30]


def test_several_tasks_are_measured_each():
    first = alone(small(operation="x+y_mod,x-y_mod", modulus=7, eval_start=True))[0]
    assert [*first.tasks] == ["x+y_mod", "x-y_mod"]
    assert all(events["memorization_step"] is None for events in first.task_events.values())


def test_what_is_known_before_the_first_step_is_an_event_at_the_first_measurement(tmp_path):
    """Weights that fit all rows: sustained from the first measurement on, as without `eval_start`."""
    knowing = {"training_fraction": 0.9, "num_steps": 300, "threshold": 0.02, "sustain": 2}
    path = tmp_path / "out"
    words = [f"--{name}={value}" for name, value in {**SETTINGS, **knowing}.items()]
    assert main(["train", *words, "--out", str(path), "--quiet"]) == 0
    options = {**SETTINGS, **knowing, "initial_checkpoint": str(path), "learning_rate": 1e-9}
    found = []
    for more in ({}, {"eval_start": True}):
        engine = Engine()
        config = resolved({**options, **more})
        engine.restore("a", config, first_checkpoint(config))
        found.append(run(engine)["a"])
    plain, started = found
    assert started[0].metrics["heldout_exact_match"] >= 0.02
    assert started[0].events["streak"] == 0
    assert [(m.step, m.events, m.outcome) for m in started[1:]] == [(m.step, m.events, m.outcome) for m in plain]
    assert (plain[-1].step, plain[-1].events["grok_step"], plain[-1].events["grok_step_lower"]) == (20, 10, 0)


def test_no_number_at_the_start_ends_nothing_before_the_first_measurement():
    config = small(eval_start=True)
    start = first_checkpoint(config)
    start.tensors["parameters"]["head.bias"].fill_(math.nan)
    engine = Engine()
    engine.restore("a", config, start)
    assert [(m.step, m.outcome) for m in run(engine)["a"]] == [(0, None), (10, "diverged")]


def test_nothing_else_in_the_folder_moves_and_pictures_leave_step_0_out(tmp_path, capsys):
    words = [f"--{name}={value}" for name, value in {**SETTINGS, **KEPT}.items()]
    files, rows = [], []
    for name, more in (("plain", []), ("more", ["--eval_start"])):
        assert main(["train", *words, *more, "--out", str(tmp_path / name)]) == 0
        folder = SweepFolder.open(tmp_path / name)
        (row,) = read_trials(folder).to_pylist()
        rows.append({k: v for k, v in row.items() if k not in ("trial_id", "eval_start", "wall_time_s")})
        kept = sorted(
            path.name.split("-")[:-1] for path in (tmp_path / name / "checkpoints" / row["trial_id"]).iterdir()
        )
        lines = (tmp_path / name / "examples" / f"{row['trial_id']}.jsonl").read_text()
        files.append((kept, lines))
    assert files[0] == files[1]
    assert rows[0] == rows[1]
    steps = read_curves(folder)["step"].to_pylist()
    assert steps == [0, 10, 20, 30, 40]
    assert "\n         0 " in capsys.readouterr().out
    analysis = grokray.load(tmp_path / "more")
    axes = analysis.plot_curves(row["trial_id"])
    assert axes.get_xlim()[0] == 10
    assert all(min(line.get_xdata()) == 10 for line in axes.get_lines() if len(line.get_xdata()) == 4)
    assert main(["plot", str(tmp_path / "more")]) == 0
    (typical,) = typical_trials(analysis.sweeps)
    assert typical.curve.steps == [10, 20, 30, 40]
    assert analysis.curves_of([row["trial_id"]])["step"].min() == 0
    assert main(["train", "--from-trial", str(tmp_path / "more"), row["trial_id"], "--out", str(tmp_path / "a")]) == 0
    assert "curve is identical" in capsys.readouterr().out


def test_a_trial_that_is_interrupted_before_its_first_step_begins_there_again(tmp_path):
    config = resolved({**SETTINGS, "eval_start": True})
    trainer = Trainer(Store.from_uri(tmp_path), role="t", compile="off")
    seen = []
    trainer.on_measurement = lambda m: seen.append(m.step)
    kept = {"checkpoint_interval": 10, "keep_checkpoints": "last"}
    trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **kept))
    trainer.turn()
    trainer.stop(config.id, save=True)
    trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **kept, attempt=1))
    while trainer.trials:
        trainer.turn()
    trainer.close()
    assert seen == [0, 0, 10, 20, 30, 40]


def test_it_is_a_setting_of_trial_and_of_no_older_folders_fingerprint(tmp_path):
    file = tmp_path / "space.yaml"
    space = "method: grid\nparameters: {operation: {value: x+y_mod}}\ntrial: {eval_interval: 10, eval_start: VALUE}\n"
    fingerprints, configs = [], []
    for value in ("false", "true"):
        file.write_text(space.replace("VALUE", value))
        config = load_sweep(file)
        fingerprints.append(config.fingerprint())
        configs.append(config.trial_config(next(config.grid()), 0))
    assert "trial.eval_start" not in fingerprints[0]
    assert fingerprints[1]["trial.eval_start"] == "true"
    assert [config.eval_start for config in configs] == [False, True]
    file.write_text(space.replace("VALUE", "soon"))
    with pytest.raises(ConfigError, match="space.yaml:3:28: trial.eval_start is 'soon', but must be true or false"):
        load_sweep(file)
