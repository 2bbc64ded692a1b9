from __future__ import annotations

import json

import torch

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.engine import Engine
from grokray.engine.examples import example, example_rows, examples
from grokray.engine.restored import measure, restored
from grokray.engine.shape import shape_of
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import small

SUMS = {
    **{"operation": "x-y", "task_type": "sequence", "base": 10, "operand_limit": 12, "operand_limit_out": 14},
    **{"num_steps": 40, "eval_interval": 20, "learning_rate": 1e-2},
}


def trained(**changes) -> tuple[dict[int, dict[str, float]], Checkpoint, Engine]:
    """The measurements of a trial and of a neighbour's company, and the trial's state at step 20."""
    config = small(**{**SUMS, **changes})
    engine = Engine(compile="off")
    engine.join("a", config)
    engine.join("b", config.model_copy(update={"init_seed": 5}))
    measured = {}
    for m in engine.next():
        measured[m.trial] = m
    return {m.step: m.metrics for name, m in measured.items() if name == "a"}, engine.save("a"), engine


def test_a_checkpoint_measured_again_gives_the_numbers_of_the_run():
    curve, checkpoint, _ = trained()
    trial = restored(checkpoint)
    assert checkpoint.step == 20
    assert {name.split("_")[0] for name in curve[20]} == {"train", "heldout", "out"}
    assert measure(trial).metrics == curve[20]


def test_examples_come_from_each_part_and_stay_the_same():
    dataset = build_dataset(small(**SUMS))
    rows = example_rows(dataset, 5)
    assert list(rows) == ["train", "heldout", "out_of_domain"]
    for part, chosen in rows.items():
        assert len(chosen) == 5
        assert torch.isin(chosen, getattr(dataset.split, part)).all()
        assert torch.equal(chosen, example_rows(build_dataset(small(**SUMS)), 5)[part])
    other = build_dataset(small(**SUMS, split_seed=1))
    assert not torch.equal(example_rows(other, 5)["heldout"], rows["heldout"])
    assert len(example_rows(dataset, 10**6)["train"]) == len(dataset.split.train)


def test_the_share_of_examples_that_match_is_the_exact_match():
    curve, checkpoint, _ = trained()
    trial = restored(checkpoint)
    rows = example_rows(trial.dataset, 10**6)
    records = examples(trial.shape, trial.parameters, trial.dataset, rows)
    for part, chosen in rows.items():
        matches = [r["match"] for r in records if r["part"] == part]
        assert len(matches) == len(chosen)
        assert abs(sum(matches) / len(matches) - curve[20][f"{part}_exact_match"]) < 1e-12
    assert all((r["error"] is None) == r["match"] == (r["prediction"] == r["truth"]) for r in records)
    assert all((r["wrong_digit"] is not None) == (r["error"] == "digit") for r in records)
    assert len({r["error"] for r in records}) > 2
    assert json.loads(json.dumps(records)) == records


def test_an_example_in_words_and_in_tokens():
    dataset = build_dataset(small(**SUMS))
    table = dataset.table
    assert table.x is not None
    assert table.y is not None
    row = int(((table.x == 3) & (table.y == 11)).nonzero()[0, 0])
    eos = table.vocabulary.eos
    assert example(table, row, [8, eos, -1, -1]) == {
        "example": "3 - 11",
        "prediction": "8",
        "truth": "-8",
        "match": False,
        "error": "sign",
        "wrong_digit": None,
        "input_tokens": ["3", "-", "1", "1", "="],
        "prediction_tokens": ["8", "<EOS>"],
        "truth_tokens": ["-", "8", "<EOS>"],
    }
    assert shape_of(dataset).answers == 4
