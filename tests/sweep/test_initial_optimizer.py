"""Trials that take over a checkpoint's moments with its weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from grokray.cli.main import main
from grokray.engine.checkpoint import Checkpoint, from_bytes, hash_of, to_bytes
from grokray.errors import CheckpointError, ConfigError
from grokray.records.folder import OtherSearchSpace, SweepFolder
from grokray.records.store import Store
from grokray.sweep import initial
from grokray.sweep.assignment import Assignment
from grokray.sweep.initial import first_checkpoint, resolved
from grokray.sweep.inputs import at_hand, keep
from grokray.sweep.load import load_sweep
from grokray.sweep.parcel import Parcel
from grokray.sweep.trainer import Trainer
from grokray.tasks.resolve import left_out, resolve
from grokray.trial import TrialConfig
from grokray.wording import show

N = 20  # ten epochs, each in the order of the table
SHAPE = {"operation": "x+y_mod", "modulus": 7, "num_layers": 1, "dim_model": 8, "num_heads": 2, "batch_size": 16}
PARENT = {
    **SHAPE,
    **{"learning_rate": 3e-2, "curriculum": "ordered", "warmup_steps": 0, "eval_interval": 10, "sustain": 100},
    **{"num_steps": 2 * N},
}
KINDS = {
    "adamw": {},
    "adam": {"optimizer": "adam", "weight_decay": 1e-3},
    "sgd": {"optimizer": "sgd"},
    "muon and grokfast_ema": {"optimizer": "muon", "gradient_filter": "grokfast_ema"},
}


def train(
    folder: Path, *configs: TrialConfig, compile: Literal["on", "off"] = "off", stop_at: int = -1
) -> list[Checkpoint]:
    """Together, to their ends, or until the last one is at `stop_at`; their last states. Every N steps are kept."""
    trainer = Trainer(Store.from_uri(folder), role="t", compile=compile)
    for config in configs:
        kept = {"checkpoint_interval": N, "keep_checkpoints": "all"}
        trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **kept))
    while trainer.trials:
        trainer.turn()
        if configs[-1].id in trainer.trials and trainer._running[configs[-1].id].measured.step == stop_at:
            for config in configs:
                trainer.stop(config.id, save=True)
    trainer.close()
    ends = "last-*.pt" if stop_at < 0 else "0*.pt"
    files = [max((folder / "checkpoints" / config.id).glob(ends)) for config in configs]
    return [from_bytes(file.read_bytes()) for file in files]


def at(folder: Path, config: TrialConfig, step: int) -> str:
    (file,) = (folder / "checkpoints" / config.id).glob(f"{step:010}-*.pt")
    return str(file)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(hash_of(one.tensors[kind]) == hash_of(other.tensors[kind]) for kind in one.tensors)


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    """A checkpoint after N steps."""
    folder = tmp_path_factory.mktemp("parent")
    train(folder, config := resolved(PARENT))
    shutil.copyfile(at(folder, config, N), folder / "half.pt")
    return folder / "half.pt"


def started(path: Path | str, moments: str = "checkpoint", **parameters) -> TrialConfig:
    given = {**PARENT, "num_steps": N, "initial_checkpoint": str(path), "initial_optimizer": moments}
    return resolved({**given, **parameters})


@pytest.mark.parametrize("kind", KINDS)
def test_who_trains_on_with_the_moments_is_bit_identical_to_who_never_stopped(kind, tmp_path):
    options = KINDS[kind]
    (whole,) = train(tmp_path / "whole", config := resolved({**PARENT, **options}))
    halved = started(at(tmp_path / "whole", config, N), **options)
    (second,) = train(tmp_path / "second", halved)
    assert (second.step, second.steps_before) == (N, N)
    assert same(second, whole)
    assert second.metrics == whole.metrics
    (anew,) = train(tmp_path / "anew", started(at(tmp_path / "whole", config, N), "zero", **options))
    assert anew.steps_before == 0
    assert not same(anew, whole)
    assert anew.metrics != whole.metrics


def test_steps_add_up_from_parent_to_child_to_grandchild(tmp_path):
    (whole,) = train(tmp_path / "whole", resolved({**PARENT, "num_steps": 3 * N}))
    (_,) = train(tmp_path / "first", first := resolved({**PARENT, "num_steps": N + 1}))
    (_,) = train(tmp_path / "second", second := started(at(tmp_path / "first", first, N), num_steps=N + 1))
    (third,) = train(tmp_path / "third", started(at(tmp_path / "second", second, N)))
    assert third.steps_before == 2 * N
    assert same(third, whole)


def test_it_trains_the_same_in_company_and_after_an_interruption(parent, tmp_path):
    config, more = started(parent, num_steps=3 * N), {"num_steps": 3 * N}
    company = [resolved({**PARENT, **more}), started(parent, "zero", **more), started(parent, weight_decay=0, **more)]
    (alone,) = train(tmp_path / "alone", config)
    *others, last = train(tmp_path / "company", *company, config)
    assert same(last, alone)
    assert [other.steps_before for other in others] == [0, 0, N]
    for other, one in zip(others, company, strict=True):
        assert same(other, *train(tmp_path / one.id, one))
    shutil.copyfile(parent, path := tmp_path / "gone.pt")
    moved = started(path, num_steps=3 * N)
    (state,) = train(tmp_path / "halted", moved, stop_at=10)
    assert (state.step, state.steps_before) == (10, N)
    path.unlink()
    assert same(*train(tmp_path / "halted", moved), alone)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_kernels_go_on_bit_identically_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path / "cache"))
    options = {"gradient_filter": "grokfast_ema"}
    (whole,) = train(tmp_path / "whole", config := resolved({**PARENT, **options}), compile="on")
    half = at(tmp_path / "whole", config, N)
    (second,) = train(tmp_path / "second", started(half, **options), compile="on")
    assert same(second, whole)
    (anew,) = train(tmp_path / "anew", started(half, "zero", **options), compile="on")
    assert not same(anew, whole)


@pytest.mark.parametrize(
    ("of_parent", "of_trial", "message"),
    [
        ({}, {"optimizer": "sgd"}, "optimizer is 'adamw' in PATH and 'sgd' in this trial: they have moments of diff"),
        ({}, {"optimizer": "adam"}, "optimizer is 'adamw' in PATH and 'adam' in this trial: "),
        (
            {"gradient_filter": "grokfast_ema"},
            {},
            "gradient_filter is 'grokfast_ema' in PATH and 'none' in this trial: a moving average of gradients must be",
        ),
        ({}, {"gradient_filter": "grokfast_ema"}, "gradient_filter is 'none' in PATH and 'grokfast_ema' in this tri"),
    ],
)
def test_moments_of_another_kind_are_refused(of_parent, of_trial, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("half.pt")
    path.write_bytes(to_bytes(first_checkpoint(resolved({**PARENT, **of_parent})))[0])
    assert started(path, "zero", **of_trial).initial_optimizer == "zero"
    with pytest.raises(ConfigError) as caught:
        started(path, **of_trial)
    (problem,) = caught.value.problems
    assert problem.message.startswith(
        f"initial_optimizer is 'checkpoint', but {message.replace('PATH', show('half.pt'))}"
    )
    assert problem.field == "initial_optimizer"


def test_filters_without_a_moving_average_may_come_and_go(parent, tmp_path):
    (state,) = train(tmp_path, started(parent, gradient_filter="orthograd", dtype="float64"))
    assert {t.dtype for kind in state.tensors.values() for t in kind.values()} == {torch.float64}


def test_its_id_goes_by_all_that_it_takes_and_by_no_more(parent, tmp_path):
    before = from_bytes(parent.read_bytes())
    other = tmp_path / "other.pt"
    moment1 = {name: t * 2 for name, t in before.tensors["moment1"].items()}
    other.write_bytes(to_bytes(replace(before, tensors={**before.tensors, "moment1": moment1}))[0])
    later = tmp_path / "later.pt"
    later.write_bytes(to_bytes(replace(before, steps_before=1))[0])
    assert len({started(path, "zero").id for path in (parent, other, later)}) == 1
    ids = {started(path).id for path in (parent, other, later)}
    assert len(ids) == 3
    assert started(parent, "zero").id not in ids
    assert resolved(started(parent).model_dump()) == started(parent)
    config = started(parent)
    with pytest.raises(ConfigError, match="initial_checkpoint_hash is .*: they are not the same weights and moments"):
        started(other, initial_checkpoint_hash=config.initial_checkpoint_hash)
    with pytest.raises(CheckpointError, match=r"other.pt no longer holds the weights and moments that trial .* starts"):
        first_checkpoint(config.model_copy(update={"initial_checkpoint": str(other)}))


def test_without_a_checkpoint_it_is_refused_and_beside_null_of_no_use():
    with pytest.raises(ConfigError, match="^initial_optimizer is 'checkpoint', but must be zero where no init"):
        resolve({**PARENT, "initial_optimizer": "checkpoint"})
    given = {**PARENT, "initial_checkpoint": None, "initial_optimizer": "checkpoint"}
    assert resolve(given) == resolve({**PARENT, "initial_optimizer": "zero"}) == resolve(PARENT)
    assert left_out(given, resolve(given)) == {"initial_optimizer"}


def space(folder: Path, path: str, optimizer: str) -> Path:
    values = {n: v for n, v in PARENT.items() if n not in ("eval_interval", "sustain")}
    fixed = "".join(f"  {name}: {{value: {value}}}\n" for name, value in values.items())
    file = folder / "branch.yaml"
    start = f"  initial_checkpoint: {path}\n" if path else ""
    start += f"  initial_optimizer: {optimizer}\n" if optimizer else ""
    file.write_text(f"method: grid\nparameters:\n{fixed}{start}trial: {{eval_interval: 10, sustain: 100}}\n")
    return file


def test_a_search_space_may_try_both_and_its_folder_keeps_what_either_needs(parent, tmp_path, monkeypatch):
    shutil.copyfile(parent, path := tmp_path / "half.pt")
    config = load_sweep(space(tmp_path, "{values: [null, half.pt]}", "{values: [zero, checkpoint]}"))
    assert not any("no trial has a use" in note for note in config.notes)
    trials = [config.trial_config(choice, 0) for choice in config.grid()]
    assert [t.id for t in trials] == [
        *[resolved(PARENT).id] * 2,
        *(started(parent, one, num_steps=2 * N).id for one in ("zero", "checkpoint")),
    ]
    store = Store.from_uri(tmp_path / "sweep")
    keep(store, config)
    starts = [first_checkpoint(trial) for trial in trials[2:]]
    assert [start.steps_before for start in starts] == [0, N]
    path.unlink()
    moved = [TrialConfig.model_validate(at_hand(store, trial.model_dump())) for trial in trials[2:]]
    assert all(str(trial.initial_checkpoint).startswith(f"{store.uri}/inputs/") for trial in moved)
    assert all(same(first_checkpoint(one), start) for one, start in zip(moved, starts, strict=True))


def test_a_sweep_is_another_one_where_the_moments_are_others(parent, tmp_path):
    shutil.copyfile(parent, path := tmp_path / "half.pt")
    both = space(tmp_path, "{value: half.pt}", "{value: checkpoint}")
    make = SweepFolder.create_or_open
    make(str(tmp_path / "out"), "", load_sweep(both).fingerprint(), {})
    with Parcel(config=load_sweep(both), out="s3://bucket/x").packed() as folder:
        assert load_sweep(folder / "branch.yaml").fingerprint() == load_sweep(both).fingerprint()
    path.write_bytes(to_bytes(replace(from_bytes(path.read_bytes()), steps_before=7))[0])
    initial._read.cache_clear()
    with pytest.raises(OtherSearchSpace, match="initial_checkpoint holds other weights or moments: their hash was"):
        make(str(tmp_path / "out"), "", load_sweep(both).fingerprint(), {})


def test_a_search_spaces_faults_name_their_line(parent, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_sweep(space(tmp_path, "", "{values: [zero, checkpoint]}"))
    (problem,) = caught.value.problems
    assert str(problem.place).startswith(f"{tmp_path}/branch.yaml:13:")
    assert problem.message == "initial_optimizer is 'checkpoint', but must be zero where no initial_checkpoint is given"


def test_from_the_command_line_also_when_the_original_has_gone(parent, tmp_path, capsys, monkeypatch):
    shutil.copyfile(parent, path := tmp_path / "half.pt")
    options = [f"--{name}={value}" for name, value in {**PARENT, "num_steps": N}.items()]
    state = ["--initial_optimizer", "checkpoint"]
    monkeypatch.setattr("grokray.cli.train_run._train", lambda *args: False)
    given = ["--initial_checkpoint", str(path), *state, "--out", str(tmp_path / "a")]
    assert main(["train", *options, *given]) == 130
    monkeypatch.undo()
    path.unlink()
    assert main(["train", "--resume", str(tmp_path / "a"), "--quiet"]) == 0
    (last,) = tmp_path.glob("a/checkpoints/*/last-*.pt")
    assert same(from_bytes(last.read_bytes()), *train(tmp_path / "b", started(parent)))
    capsys.readouterr()
    assert main(["train", *options, *state, "--out", str(tmp_path / "c")]) == 2
    assert capsys.readouterr().err.startswith("error: --initial_optimizer is 'checkpoint', but must be zero where no ")
    assert not (tmp_path / "c").exists()
