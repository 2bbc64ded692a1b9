"""A small sweep's folder, written without training anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grokray.records.folder import SweepFolder
from grokray.sweep.load import load_sweep

SPACE = """\
name: small
method: random
num_trials: 4
seeds: [0, 1]
parameters:
  modulus: {value: 23}
  weight_decay: {values: [0.1, 1]}
  training_fraction: {distribution: uniform, min: 0.3, max: 0.8}
  num_steps: {value: 2000}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def begun(tmp_path: Path, space: Path) -> Callable[..., SweepFolder]:
    """Makes a sweep of 8 trials: one grokked, one spent its budget, one runs, one waits, four are to be proposed."""

    def make(out: str = "out", *, interrupted: bool = False) -> SweepFolder:
        config = load_sweep(space)
        meta = {"versions": {"grokray": "0.1.0"}, "command": "grokray sweep small.yaml"}
        folder = SweepFolder.create_or_open(tmp_path / out, config.to_yaml(), config.fingerprint(), meta)
        with folder.writer("driver") as journal:
            journal.write("sweep", session="a", fingerprint=config.fingerprint(), **meta, t=1_767_268_800.0)
            for index, (decay, fraction) in enumerate([(0.1, 0.4567), (1, 0.75)]):
                choice = {"weight_decay": decay, "training_fraction": fraction}
                journal.write("suggest", configuration=index, parameters=choice)
                for seed in (0, 1):
                    trial = config.trial_config({"modulus": 23, "num_steps": 2000, **choice}, seed)
                    journal.write(
                        "trial",
                        trial_id=trial.id,
                        index=2 * index + seed,
                        configuration=index,
                        seed=seed,
                        config=trial.model_dump(),
                    )
            ids = list(folder.state().trials)
            for trial_id, step, accuracy in ((ids[0], 1200, 1.0), (ids[1], 2000, 0.5), (ids[2], 700, 0.25)):
                events = {"memorization_step": 300, "memorization_step_lower": 200, "train_phase_step": 200}
                if accuracy == 1:
                    events |= {"grok_step": 1000, "grok_step_lower": 900, "heldout_phase_step": 900}
                journal.write("start", trial_id=trial_id, attempt=0, step=0)
                journal.write(
                    "measurement",
                    trial_id=trial_id,
                    attempt=0,
                    step=step,
                    metrics={"train_exact_match": 1.0, "heldout_exact_match": accuracy, "heldout_loss": 0.5},
                    events=events,
                )
            journal.write("end", trial_id=ids[0], outcome="grokked", step=1200)
            journal.write("end", trial_id=ids[1], outcome="budget", step=2000)
            if interrupted:
                journal.write("interrupt", session="a")
        return folder

    return make
