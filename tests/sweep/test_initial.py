"""Trials that start from the weights of a checkpoint."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

import grokray
from grokray.cli.main import main
from grokray.engine.checkpoint import from_bytes
from grokray.engine.engine import Engine
from grokray.errors import CheckpointError, ConfigError
from grokray.records.folder import OtherSearchSpace, SweepFolder
from grokray.records.store import Store
from grokray.sweep import initial
from grokray.sweep.assignment import Assignment
from grokray.sweep.initial import first_checkpoint, remarks, resolved
from grokray.sweep.load import load_sweep
from grokray.sweep.parcel import Parcel
from grokray.sweep.trainer import Trainer
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import left_out
from grokray.trial import TrialConfig
from grokray.wording import short

SHAPE = {"operation": "x+y_mod", "modulus": 7, "num_layers": 1, "dim_model": 8, "num_heads": 2, "batch_size": 16}
PARENT = {**SHAPE, "learning_rate": 3e-2, "num_steps": 60, "eval_interval": 20, "sustain": 100}
# So small a rate changes no weight that is seen.
STILL = {**SHAPE, "learning_rate": 1e-9, "weight_decay": 0, "num_steps": 20, "eval_interval": 10, "sustain": 100}


def train(folder: Path, config: TrialConfig) -> dict[int, dict[str, float]]:
    """To the end; its metrics by step."""
    found = {}
    trainer = Trainer(
        Store.from_uri(folder), role="t", compile="off", on_measurement=lambda m: found.update({m.step: m.metrics})
    )
    kept = {"checkpoint_interval": 20, "keep_checkpoints": "all"}
    trainer.start(Assignment(trial_id=config.id, config=config.model_dump(), **kept))
    while trainer.trials:
        trainer.turn()
    trainer.close()
    return found


@pytest.fixture(scope="module")
def parents(tmp_path_factory) -> Path:
    """A trial's checkpoints, by step: 20, 40, last."""
    folder = tmp_path_factory.mktemp("parents")
    config = resolved(PARENT)
    train(folder, config)
    for path in (folder / "checkpoints" / config.id).iterdir():
        if not path.name.startswith("best"):
            shutil.copyfile(path, folder / f"{'last' if path.name.startswith('last') else int(path.name[:10])}.pt")
    return folder


@pytest.fixture(autouse=True)
def forgotten() -> None:
    initial._read.cache_clear()


def started(path: Path, **parameters) -> TrialConfig:
    return resolved({**STILL, "initial_checkpoint": str(path), **parameters})


def test_it_trains_on_from_these_weights_and_from_nothing_else(parents, tmp_path):
    config = started(parents / "40.pt")
    before = from_bytes((parents / "40.pt").read_bytes())
    found = train(tmp_path, config)
    assert found[10]["heldout_loss"] == pytest.approx(before.metrics["heldout_loss"], abs=1e-5)
    assert found[10]["heldout_loss"] != pytest.approx(
        train(tmp_path / "drawn", resolved(STILL))[10]["heldout_loss"], abs=0.1
    )
    first = first_checkpoint(config)
    assert (first.step, first.wall_time_s, first.events["threshold"]) == (0, 0.0, config.threshold)
    assert all(torch.equal(t, before.tensors["parameters"][n]) for n, t in first.tensors["parameters"].items())
    assert not any(t.any() for kind in ("moment1", "moment2") for t in first.tensors[kind].values())
    assert before.tensors["moment1"]["head.bias"].any()


def test_it_is_the_same_trial_wherever_the_weights_lie_and_another_with_other_weights(parents, tmp_path):
    one = started(parents / "40.pt")
    shutil.copyfile(parents / "40.pt", tmp_path / "moved.pt")
    moved, other = started(tmp_path / "moved.pt"), started(parents / "20.pt")
    assert one.id == moved.id
    assert one.initial_checkpoint != moved.initial_checkpoint
    assert len({one.id, other.id, resolved(STILL).id}) == 3
    assert resolved(one.model_dump()) == one
    # A checkpoint of another step, with its own metrics and moments, may hold the same weights.
    train(tmp_path / "again", one)
    (same,) = (tmp_path / "again/checkpoints" / one.id).glob("last-*.pt")
    assert started(same).initial_checkpoint_hash != one.initial_checkpoint_hash  # it has moved by 1e-9
    assert re.fullmatch("[0-9a-f]{16}", str(one.initial_checkpoint_hash))


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float64"},
        {"gradient_filter": "grokfast_ema"},
        {"operation": "x*y_mod"},
        {"optimizer": "sgd"},
    ],
    ids=str,
)
def test_other_settings_of_the_same_shape_may_start_from_them(parents, tmp_path, options):
    config = started(parents / "last.pt", **options)
    first = first_checkpoint(config)
    weights = from_bytes((parents / "last.pt").read_bytes()).tensors["parameters"]
    assert all(torch.equal(t, weights[n].to(t.dtype)) for n, t in first.tensors["parameters"].items())
    assert {t.dtype for t in first.tensors["parameters"].values()} == {getattr(torch, config.dtype)}
    assert set(train(tmp_path, config)) == {10, 20}


DIGITS = {"task_type": "sequence", "operation": "x+y", "operand_limit": 9, "modulus": None}


@pytest.mark.parametrize(
    ("parts", "of_trial"),
    [
        ("blocks", {**DIGITS, "base": 3}),  # other tokens, of longer rows
        ("embeddings", {"num_layers": 2, "norm": "none"}),
        ("embeddings,head", {"num_layers": 2, "operation": "x*y_mod"}),
        ("blocks,head", {"activation": "relu"}),
    ],
)
def test_some_of_its_parts_are_taken_and_the_others_drawn(parents, tmp_path, parts, of_trial):
    config = started(parents / "40.pt", initial_parts=parts, **of_trial)
    weights = from_bytes((parents / "40.pt").read_bytes()).tensors["parameters"]
    drawn = first_checkpoint(resolved({**STILL, **of_trial})).tensors["parameters"]
    of_part = {"embeddings": ("token_embedding", "position_embedding"), "head": ("head.weight", "head.bias")}
    apart = {name for names in of_part.values() for name in names}
    for name, found in first_checkpoint(config).tensors["parameters"].items():
        part = next((part for part, names in of_part.items() if name in names), "blocks")
        assert torch.equal(found, weights[name] if part in parts else drawn[name]), name
        assert (part == "blocks") == (name not in apart)
    other_seed = first_checkpoint(started(parents / "40.pt", initial_parts=parts, init_seed=1, **of_trial))
    moved = {n for n, t in other_seed.tensors["parameters"].items() if not torch.equal(t, drawn[n])}
    assert moved >= ({"head.weight"} if "head" not in parts else {"0.qkv.weight"} & drawn.keys() - weights.keys())
    assert set(train(tmp_path, config)) == {10, 20}


def test_parts_make_another_trial_and_all_of_them_in_any_order_the_same(parents):
    whole = started(parents / "40.pt")
    assert started(parents / "40.pt", initial_parts=["head", "blocks", "embeddings"]) == whole
    assert started(parents / "40.pt", initial_parts="head, embeddings").initial_parts == "embeddings,head"
    assert started(parents / "40.pt", initial_parts="blocks").id != whole.id


def test_several_tasks_start_with_events_of_their_own(tmp_path):
    both = {"operation": "x+y_mod,x-y_mod"}
    train(tmp_path / "parent", parent := resolved({**PARENT, **both}))
    (last,) = (tmp_path / "parent/checkpoints" / parent.id).glob("last-*.pt")
    assert [*first_checkpoint(config := started(last, **both)).task_events] == ["x+y_mod", "x-y_mod"]
    assert set(train(tmp_path, config)) == {10, 20}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"initial_checkpoint": "nowhere.pt"}, "initial_checkpoint is 'nowhere.pt', but /.*nowhere.pt is missing"),
        (
            {"initial_checkpoint": __file__},
            "initial_checkpoint is .*, but .*/test_initial.py is not a checkpoint of grokray",
        ),
        (
            {"dim_model": 16},
            r"initial_checkpoint is .*40.pt', but token_embedding is 9 × 8 there and 9 × 16 in this trial",
        ),
        ({"modulus": 11}, r"initial_checkpoint is .*, but token_embedding is 9 × 8 there and 13 × 8 in this trial"),
        ({"num_layers": 2}, r"initial_checkpoint is .*, but 1.norm1.weight is missing there and 8 in this trial"),
        ({"norm": "none"}, r"initial_checkpoint is .*, but 0.norm1.weight is 8 there and missing in this trial"),
        (
            {"initial_checkpoint_hash": "0" * 16},
            "initial_checkpoint_hash is 0{16}, but that of .*40.pt is [0-9a-f]{16}: ",
        ),
        ({"initial_checkpoint": ""}, "initial_checkpoint is '', but must not be empty"),
        (
            {"initial_parts": "embeddings", "modulus": 11},
            r"initial_checkpoint is .*, but token_embedding is 9 × 8 there and 13 × 8 in this trial",
        ),
        (
            {"initial_parts": "embeddings", **DIGITS, "base": 7},
            r"initial_checkpoint is .*, but token_embedding is 9 × 8 there and 12 × 8 in this trial",
        ),
        ({"initial_parts": "blocks", "dim_model": 16}, r"but 0.norm1.weight is 8 there and 16 in this trial"),
        ({"initial_parts": "heads"}, "must name only embeddings, blocks, head; heads is none of them"),
        ({"initial_parts": ""}, "initial_parts is '', but must"),
        (
            {"initial_parts": "blocks", "initial_optimizer": "checkpoint"},
            "initial_optimizer is 'checkpoint', but must be zero where initial_parts does not name all parts of the mo",
        ),
    ],
)
def test_weights_that_cannot_be_are_refused(parents, parameters, message):
    with pytest.raises(ConfigError, match=message) as caught:
        started(parents / "40.pt", **parameters)
    fields = {problem.field for problem in caught.value.problems}
    assert fields <= {"initial_checkpoint", "initial_checkpoint_hash", "initial_parts", "initial_optimizer"}


def test_a_hash_without_a_checkpoint_and_scales_of_weights_that_are_not_drawn_are_of_no_use(parents):
    assert resolved({**STILL, "initial_checkpoint_hash": "0" * 16}) == resolved(STILL)
    given = {**STILL, "initial_checkpoint": str(parents / "40.pt"), "init_scale": 2.0, "embedding_scale": 3.0}
    config = resolved(given)
    assert config == started(parents / "40.pt")
    assert left_out(given, config) == {"init_scale", "embedding_scale"}


def test_weights_that_change_before_it_starts_are_refused_and_later_ones_are_not_needed(parents, tmp_path):
    path = tmp_path / "weights.pt"
    shutil.copyfile(parents / "40.pt", path)
    config = started(path)
    whole = train(tmp_path / "whole", config)
    trainer = Trainer(Store.from_uri(tmp_path / "begun"), role="t", compile="off")
    trainer.start(
        Assignment(trial_id=config.id, config=config.model_dump(), checkpoint_interval=10, keep_checkpoints="none")
    )
    trainer.turn()
    trainer.stop(config.id, save=True)
    trainer.close()
    shutil.copyfile(parents / "20.pt", path)
    with pytest.raises(
        CheckpointError, match=f"weights.pt no longer holds the weights that trial {config.id} starts from"
    ):
        train(tmp_path / "late", config)
    path.unlink()
    assert train(tmp_path / "begun", config)[20] == whole[20]


def test_an_engine_draws_no_weights_for_it(parents):
    with pytest.raises(ValueError, match="is restored"):
        Engine().join("a", started(parents / "40.pt"))


def test_what_may_be_remembered_and_what_is_computed_otherwise_is_said(parents):
    assert not [*remarks([resolved(STILL), started(parents / "40.pt")])]
    (text,) = remarks([started(parents / "40.pt", num_heads=1)])
    assert text == "num_heads is 1, but 2 in initial_checkpoint: the same weights compute something else"
    assert not [*remarks([started(parents / "40.pt", num_heads=1, initial_parts="embeddings,head")])]
    config = started(parents / "40.pt", split_seed=1)
    (text,) = remarks([started(parents / "40.pt"), config])
    data = grokray.load_model(parents / "40.pt").dataset
    ours = build_dataset(config).split.heldout.tolist()
    seen = len(set(ours) & set(data.split.train.tolist()))
    assert text.startswith(f"{seen} of {len(ours)} held-out rows were trained on in initial_checkpoint ")
    assert not [*remarks([started(parents / "40.pt", split_seed=1, operation="x*y_mod")])]


def space(folder: Path, path: str, more: str = "") -> Path:
    fixed = "".join(
        f"  {name}: {{value: {value}}}\n" for name, value in STILL.items() if name not in ("eval_interval", "sustain")
    )
    file = folder / "branch.yaml"
    file.write_text(
        f"method: grid\nseeds: [0, 1]\nparameters:\n{fixed}  initial_checkpoint: {path}\n{more}"
        "trial: {eval_interval: 10, sustain: 100}\n"
    )
    return file


def test_a_search_space_names_it_from_its_own_folder_and_may_be_moved_with_it(parents, tmp_path):
    configs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copyfile(parents / "40.pt", tmp_path / name / "w.pt")
        configs.append(load_sweep(space(tmp_path / name, "{value: w.pt}")))
    one, two = configs
    proposed = next(one.grid())
    assert one.trial_config(proposed, 0).initial_checkpoint == str(tmp_path / "one/w.pt")
    assert two.trial_config(proposed, 0).initial_checkpoint == str(tmp_path / "two/w.pt")
    assert one.trial_config(proposed, 0).id == two.trial_config(proposed, 0).id
    assert one.fingerprint() == two.fingerprint()
    make = SweepFolder.create_or_open
    make(str(tmp_path / "out"), "", one.fingerprint(), {})
    shutil.copyfile(parents / "20.pt", tmp_path / "two/w.pt")
    other = load_sweep(tmp_path / "two/branch.yaml").fingerprint()
    with pytest.raises(
        OtherSearchSpace, match="initial_checkpoint holds other weights: their hash was [0-9a-f]{16}, is"
    ):
        make(str(tmp_path / "out"), "", other, {})


def test_several_and_none_are_values_like_others(parents, tmp_path):
    config = load_sweep(space(tmp_path, f"{{values: [null, {parents}/20.pt, {parents}/40.pt]}}"))
    trials = [config.trial_config(choice, 0) for choice in config.grid()]
    assert [t.initial_checkpoint and Path(t.initial_checkpoint).name for t in trials] == [None, "20.pt", "40.pt"]
    assert trials[0].id == resolved(STILL).id
    alike = load_sweep(space(tmp_path, f"{{value: {parents}/40.pt}}", "  split_seed: {value: 0}\n"))
    told = [any("and may be remembered" in note for note in one.notes) for one in (config, alike)]
    assert told == [True, False]  # the second seed splits otherwise


def test_conditions_name_it_as_values_do_and_go_along_to_a_cluster(parents, tmp_path):
    shutil.copyfile(parents / "40.pt", tmp_path / "w.pt")
    parts = "  initial_parts: {values: [blocks, head], when: {initial_checkpoint: w.pt}}\n"
    config = load_sweep(space(tmp_path, "{values: [null, w.pt]}", parts))
    trials = [config.trial_config(choice, 0) for choice in config.grid()]
    assert [t.initial_checkpoint and t.initial_parts for t in trials] == [None, "blocks", "head"]
    always = load_sweep(space(tmp_path, "{value: w.pt}", parts))
    with Parcel(config=always, out="s3://bucket/x").packed() as folder:
        sent = load_sweep(folder / "branch.yaml")
    assert sent.num_configurations() == always.num_configurations() == 2


def test_they_go_along_to_a_cluster(parents, tmp_path):
    config = load_sweep(space(tmp_path, f"{{value: {parents}/40.pt}}"))
    with Parcel(config=config, out="s3://bucket/x").packed() as folder:
        sent = load_sweep(folder / "branch.yaml")
        assert sent.parameters["initial_checkpoint"].values == (str(folder / "initial.pt"),)
        assert sent.fingerprint() == config.fingerprint()
    stays = load_sweep(space(tmp_path, f"{{values: [null, {parents}/40.pt]}}"))
    with Parcel(config=stays, out="s3://bucket/x").packed() as folder:
        assert [path.name for path in folder.iterdir()] == ["branch.yaml"]


def test_from_the_command_line_to_the_model_before_its_first_step(parents, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(parents)
    options = [f"--{name}={value}" for name, value in STILL.items()]
    assert (
        main(["train", *options, "--initial_checkpoint", "40.pt", "--split_seed", "1", "--out", str(tmp_path / "a")])
        == 0
    )
    assert "were trained on in initial_checkpoint and may be remembered" in capsys.readouterr().out
    before, weights = (grokray.load_model(*one) for one in ((tmp_path / "a",), (parents / "40.pt",)))
    first = grokray.load_model(tmp_path / "a", which=0)
    assert first.step == 0
    assert before.config.initial_checkpoint == str(parents / "40.pt")
    assert all(torch.equal(t, weights.parameters[name]) for name, t in first.parameters.items())
    assert main(["train", *options, "--initial_checkpoint", "none.pt", "--out", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("error: --initial_checkpoint is 'none.pt', but /")
    assert not (tmp_path / "b").exists()


def test_tables_show_a_checkpoint_by_trial_and_step():
    path = "/a/b/checkpoints/ae50d0f563955fdb/{}0000002000-" + "0" * 64 + ".pt"
    assert [short(path.format(kind)) for kind in ("", "best-")] == ["ae50d0f5 at 2,000", "ae50d0f5 best at 2,000"]
    assert [short(text) for text in ("weights.pt", "x+y_mod", "")] == ["weights.pt", "x+y_mod", ""]
