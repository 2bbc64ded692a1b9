"""`grokray decode` and `grokray eval`: trained models asked and measured again, from the command line."""

from __future__ import annotations

import json
import re
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

import grokray
from grokray.cli.checkpoint_path import load_trial
from grokray.cli.main import main
from grokray.cli.question import ask
from grokray.engine.seat import Seat
from grokray.engine.stack import Stack
from grokray.errors import ConfigError
from grokray.events import EventTracker
from grokray.records.folder import SweepFolder
from grokray.records.tables import read_curves
from grokray.sweep.load import load_text

SMALL = [
    *("--num_layers", "1", "--dim_model", "16", "--num_heads", "2", "--batch_size", "64", "--learning_rate", "1e-2"),
    *("--eval_interval", "50", "--num_steps", "100", "--quiet"),
]
SUMS = [*SMALL, "--operation", "x+y", "--task_type", "sequence", "--operand_limit", "12", "--operand_limit_out", "14"]


def train(folder: Path, *words: str) -> Path:
    assert main(["train", *words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sums(tmp_path_factory) -> Path:
    """Sums of numbers below 12 in base 10, most_first, kept at steps 50 and 100."""
    return train(tmp_path_factory.mktemp("m") / "sums", *SUMS)


@pytest.fixture(scope="module")
def division(tmp_path_factory) -> Path:
    words = [*SMALL, "--operation", "x/y", "--modulus", "11", "--operand_limit", "9", "--operand_limit_out", "10"]
    return train(tmp_path_factory.mktemp("m") / "division", *words)


@pytest.fixture(scope="module")
def differences(tmp_path_factory) -> Path:
    words = ["--operation", "x-y", "--task_type", "sequence", "--base", "2", "--operand_limit", "8"]
    folder = tmp_path_factory.mktemp("m") / "differences"
    return train(folder, *SMALL, *words, "--fixed_sequence_length", "--keep_checkpoints", "all")


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    words = ["--multitask", "--operation", "x/y_mod,x+y_mod", "--modulus", "11", "--measure"]
    return train(tmp_path_factory.mktemp("m") / "several", *SMALL, *words, "weight_norm,gradient_norm")


def asked(capsys, *words: str) -> dict:
    capsys.readouterr()
    assert main(["decode", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error(capsys, *words: str) -> list[str]:
    capsys.readouterr()
    assert main([*words]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    return out.err.splitlines()


def files(folder: Path) -> dict[str, Path]:
    return {path.name.partition("-")[0]: path for path in folder.glob("checkpoints/*/*.pt")}


# -- decode


def test_an_answer_in_digits_as_a_number_and_judged(sums, capsys):
    assert main(["decode", str(sums), "7 + 5"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["trial", "asked", "tokens", "answer", "right", "part"]
    assert lines["asked"] == "7 + 5 ="
    assert lines["trial"].endswith(", x+y, at step 100")
    record = asked(capsys, str(sums), "7 + 5")
    assert lines["tokens"] == " ".join(record["prediction_tokens"])
    assert record["truth"] == "12"
    assert record["truth_tokens"] == ["1", "2", "<EOS>"]
    assert (lines["right"] == "yes") == record["match"]
    if not record["match"]:
        assert lines["right"].startswith("no, 12 is; ")


def test_it_answers_as_it_did_when_it_was_measured(sums):
    curve = read_curves(SweepFolder.open(sums)).to_pylist()[-1]
    trial = load_trial(str(sums), trial=None, which="last", device="cpu")
    every = [ask(trial, f"{x} + {y}") for x in range(14) for y in range(14)]
    for part in ("train", "heldout", "out_of_domain"):
        matches = [record["match"] for record in every if record["part"] == part]
        assert sum(matches) / len(matches) == pytest.approx(curve[f"{part}_exact_match"], abs=1e-12)


@pytest.mark.parametrize("question", ["7+5", " 7  plus 5 = ", "7 5", "7, 5?", "7 x+y 5"])
def test_whatever_stands_between_two_numbers_is_the_operator(sums, capsys, question):
    assert asked(capsys, str(sums), question)["example"] == "7 + 5"


def test_a_division_is_asked_as_it_is_shown(division, capsys):
    """5 · 3 is 4 modulo 11, so 4 / 3 is 5."""
    record = asked(capsys, str(division), "4 / 3")
    assert record["truth"] == "5"
    assert record["input_tokens"] == ["4", "/%", "3", "="]
    assert record["part"] in ("train", "heldout")
    assert asked(capsys, str(division), "9 / 9")["part"] == "out_of_domain"
    assert asked(capsys, str(division), "9 / 1")["part"] is None  # no training pair has the answer 9
    assert record["error"] in (None, "value")


def test_negative_answers_and_minus_signs_that_are_operators(differences, capsys):
    assert asked(capsys, str(differences), "3-5")["truth"] == "-2"
    record = asked(capsys, str(differences), "3 - 5")
    assert record["truth_tokens"] == ["-", "0", "1", "0"]
    assert len(record["prediction_tokens"]) == 4


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("12 + 7 + 3", "the question is '12 + 7 + 3', which holds 3 numbers, but must hold two"),
        ("12 +", "the question is '12 +', but must be two whole numbers with an operator, such as '12 + 7'"),
        ("1.5 + 2", "the question is '1.5 + 2', which holds 3 numbers, but must hold two"),
        ("", "the question is '', but must be two whole numbers with an operator"),
        ("x + y", "the question is 'x + y', but must be"),
        ("12 + -7", "the second number is -7, but must not be negative"),
        ("123 + 4567", "the question holds 4567, which is longer in base 10 than this model reads"),
        ("0x3 + 4", "the question is '0x3 + 4', but must be two whole numbers with an operator"),
        ("1_0 + 4", "the question is '1_0 + 4', but must be two whole numbers with an operator"),
        ("3 + 0b1", "the question is '3 + 0b1', but must be two whole numbers with an operator"),
        ("3 + 1e 4", "the question is '3 + 1e 4', but must be two whole numbers with an operator"),
        ("3 x^2+y^2 4", "the operator is 'x^2+y^2', but this model was trained on x+y"),
        ("1 + 12345678901234567890", "the second number is 12345678901234567890, but must be at most 65,535"),
        ("99999999 + 1", "the first number is 99999999, but must be at most 65,535"),
        ("7 * 5", "the operator is '*', but this model was trained on x+y"),
        ("7 x+y_mod 5", "the operator is 'x+y_mod', but this model was trained on x+y"),
    ],
)
def test_questions_that_cannot_be_asked(sums, capsys, question, message):
    (line,) = error(capsys, "decode", str(sums), question)
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize(
    "words",
    [("{}", "-3 + 4"), ("{}", "-3 + 4", "--json"), ("--which", "last", "{}", "-3+4"), ("{}", "--", "-3 + 4")],
)
def test_a_question_may_begin_with_a_minus(sums, capsys, words):
    lines = error(capsys, "decode", *(word.format(sums) for word in words))
    assert lines == ["error: the first number is -3, but must not be negative"]


@pytest.mark.parametrize("typo", ["--whihc", "-x", "--3"])
def test_a_mistyped_option_beside_a_question_is_one(sums, capsys, typo):
    assert error(capsys, "decode", str(sums), "-3 + 4", typo)[0].startswith(f"error: no such option: {typo}")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("11 / 3", "the first number is 11, but must be below the modulus, which is 11"),
        ("3 / 12", "the second number is 12, but must be below the modulus, which is 11"),
        ("3 / 0", "the second number is 0, but must be at least 1 for x/y_mod"),
    ],
)
def test_numbers_that_the_task_has_not(division, capsys, question, message):
    assert error(capsys, "decode", str(division), question) == [f"error: {message}"]


def test_numbers_that_no_token_stands_for(tmp_path, capsys):
    folder = train(tmp_path / "o", *SMALL, "--operation", "x+y", "--operand_limit", "5", "--num_steps", "10")
    assert error(capsys, "decode", str(folder), "9 + 1") == [
        "error: the first number is 9, but the largest number that this model has a token for is 8"
    ]
    assert error(capsys, "decode", str(folder), "7 + 8") == [
        "error: the right answer is 15, for which this model has no token"
    ]


def test_answers_that_do_not_fit_a_fixed_length(differences, capsys):
    assert error(capsys, "decode", str(differences), "8 - 1") == [
        "error: the question holds 8, which is longer in base 2 than this model reads: it was made for numbers below 8"
    ]


def test_a_model_of_several_tasks_is_told_which_one_is_meant(several, capsys):
    for question, truth, equals in (("3 / 4", "9", "=/%"), ("3 + 4", "7", "=+%"), ("3 x+y_mod 4", "7", "=+%")):
        record = asked(capsys, str(several), question)
        assert record["truth"] == truth
        assert record["input_tokens"][-1] == equals
    (line,) = error(capsys, "decode", str(several), "3 ? 4")
    assert line.startswith("error: the operator is '?', but this model knows several tasks and needs one of '/', '+', ")
    (line,) = error(capsys, "decode", str(several), "3 4")
    assert line.startswith(
        "error: there is no operator, but this model knows several tasks and needs one of '/', '+', "
    )


def test_lists_are_asked_as_they_stand_in_the_table(tmp_path, capsys):
    words = ["--operation", "sort", "--task_type", "sequence", "--base", "4", "--list_length", "3"]
    folder = str(train(tmp_path / "o", *SMALL, *words))
    record = asked(capsys, folder, "3 1 2")
    assert record["truth"] == "1 2 3"
    assert record["part"] in ("train", "heldout")
    for same in ("3, 1, 2", "sort 3 1 2", "sort 3 1 2 =", "3 1 2=?", "3 1 2 = ?"):
        assert asked(capsys, folder, same) == record
    for other in ("3 1", "3 1 9", "", "=", "hello"):
        (line,) = error(capsys, "decode", folder, other)
        assert line == f"error: {other!r} is no example of sort; 'sort 0 0 0' is"


def test_lists_that_were_not_drawn_can_be_asked_too(tmp_path, capsys):
    bits = [0, 1, 1] + [0, 1] * 10
    folder = str(train(tmp_path / "o", *SMALL, "--operation", "parity", "--list_length", "23", "--list_rows", "50"))
    record = asked(capsys, folder, " ".join(map(str, bits)))
    assert (record["truth"], record["part"]) == ("0", None)
    assert record["example"] == " ".join(["parity", *map(str, bits)])
    assert asked(capsys, folder, f"parity 1 {' '.join(map(str, bits[1:]))} =")["truth"] == "1"
    for wrong in ([*bits, 1], [2, *bits[1:]], bits[1:], ["parity", *bits[1:]]):
        (line,) = error(capsys, "decode", folder, " ".join(map(str, wrong)))
        assert "is no example of parity; 'parity 0 0 " in line


def test_grids_of_several_tasks_need_the_task(tmp_path, capsys):
    (tmp_path / "arc").mkdir()
    for name, answer in (("a", 2), ("b", 3)):
        pairs = [{"input": [[1, colour]], "output": [[answer]]} for colour in range(4)]
        (tmp_path / "arc" / f"{name}.json").write_text(json.dumps({"train": pairs}))
    words = ["--operation", "arc", "--data_dir", str(tmp_path / "arc"), "--num_steps", "5"]
    folder = str(train(tmp_path / "o", *SMALL, *words))
    assert [asked(capsys, folder, f"<{name}> 1 0")["truth"] for name in "ab"] == ["2", "3"]
    (line,) = error(capsys, "decode", folder, "1 0")
    assert line.startswith("error: '1 0' is no example of arc; '<a> 1 ")
    words += ["--arc_context", "1", "--arc_holdout", "tasks", "--arc_max_cells", "9"]
    grid = [[colour, colour, colour] for colour in range(3)]
    for name in "ab":
        pairs = [{"input": grid, "output": grid[::-1]}] * 2
        (tmp_path / "arc" / f"{name}.json").write_text(json.dumps({"train": pairs}))
    (line,) = error(capsys, "decode", str(train(tmp_path / "shown", *SMALL, *words)), "1 0")
    assert line.endswith("; '<arc> 0 0 0 / 1 1 1 / 2 2 2 <arc>= 2 2 2 / 1 1 1 / 0 0 0 | 0 0 0 / 1 1 1 / 2 2 2' is")


@pytest.mark.parametrize(
    ("words", "question", "truth", "beyond", "message"),
    [
        (
            ["--operation", "expr:(x*y + 2) % p", "--modulus", "7"],
            *("3 expr:(x*y+2)%p 4", "0", "3 · 7", "but must be below the modulus, which is 7"),
        ),
        (
            ["--operation", "expr:(x*y + 2) % p,x+y_mod", "--modulus", "7"],
            *("3 expr:(x*y+2) %p 4", "0", "3 + 1 + 4", "holds 3 numbers, but must hold two"),
        ),
        (["--operation", "x-y_mod", "--modulus", "7"], "3 \u2212 4", "6", "3 \u00d7 4", "was trained on x-y_mod"),
        (["--operation", "s5"], "1 · 2", "3", "1 · 120", "but s5 has the elements 0 to 119"),
        (["--operation", "s5"], "1 s5 2", "3", "1 d7 2", "but this model was trained on s5"),
        (["--operation", "d7"], "1 · 7", "8", "3 s5 5", "but this model was trained on d7"),
        (["--operation", "d7"], "1 ·d7 7", "8", "3 + 5", "but this model was trained on d7"),
        (["--operation", "d7_conjugate"], "1 conj 7", "9", "3 ·d7 5", "but this model was trained on d7_conjugate"),
        (["--operation", "x+y_mod", "--modulus", "7"], "3 + 5", "1", "3 abad7 5", "was trained on x+y_mod"),
        (
            ["--operation", "expr:(x*y + 2) % p", "--modulus", "7"],
            *("3 · 4", "0", "3 · 7", "but must be below the modulus, which is 7"),
        ),
        (
            ["--operation", "expr:x - 2*y", "--operand_limit", "6", "--task_type", "sequence"],
            *("0 ? 4", "-8", "0 - 4", "the operator is '-', but this model was trained on expr:x - 2*y"),
        ),
        (
            ["--operation", "expr:x*y - 1", "--operand_limit", "6", "--task_type", "sequence"],
            *("0 · 4", "-1", "3 · 6", "but must be below 6, as far as the expression was checked"),
        ),
    ],
)
def test_groups_and_expressions(words, question, truth, beyond, message, tmp_path, capsys):
    folder = train(tmp_path / "o", *SMALL, *words, "--num_steps", "5")
    assert asked(capsys, str(folder), question)["truth"] == truth
    assert message in error(capsys, "decode", str(folder), beyond)[0]


@pytest.mark.parametrize(
    ("words", "truths"),
    [
        (
            ["--operation", "x+y_mod", "--modulus", "7"],
            {f"{x} + {y}": str((x + y) % 7) for x in range(7) for y in range(7)},
        ),
        (
            ["--operation", "parity", "--list_length", "4", "--parity_bits", "2"],
            {f"{a} {b} {c} {d}": str(a ^ b) for a, b, c, d in product((0, 1), repeat=4)},
        ),
        (
            ["--operation", "reverse", "--list_length", "2", "--base", "5"],
            {f"{a} {b}": f"{b} {a}" for a in range(5) for b in range(5)},
        ),
    ],
    ids=["pairs", "parity", "lists"],
)
def test_a_question_with_label_noise_is_held_against_the_truth_and_says_so(words, truths, tmp_path, capsys):
    folder = train(tmp_path / "o", *SMALL, *words, "--label_noise", "0.5", "--num_steps", "5")
    trained = grokray.load_model(folder)
    found = [ask(trained, question) for question in truths]
    assert [answer["truth"] for answer in found] == [*truths.values()]
    noisy = [answer for answer in found if answer["noisy_label"] is not None]
    assert len(noisy) == sum(answer["part"] == "train" for answer in found) // 2 > 0
    assert all(answer["part"] == "train" and answer["noisy_label"] != answer["truth"] for answer in noisy)
    assert main(["decode", str(folder), noisy[0]["example"]]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"part: a training pair, trained on the wrong answer {noisy[0]['noisy_label']}"


# -- eval


def test_numbers_are_whole_in_a_narrow_terminal(several, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["eval", str(several)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "…" in line]
    assert max(map(len, lines)) <= 60


def test_the_examples_are_those_that_are_measured(tmp_path, capsys):
    words = ["--operation", "x+y_mod", "--modulus", "11", "--eval_train_rows", "20", "--num_steps", "5"]
    folder = str(train(tmp_path / "o", *SMALL, *words))
    capsys.readouterr()
    assert main(["eval", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["examples"]["train"] == 20
    assert found["examples"]["heldout"] > 20
    assert (20 * found["metrics"]["train_exact_match"]) % 1 == pytest.approx(0, abs=1e-6)


def test_several_tasks_are_measured_each(several, capsys):
    assert main(["eval", str(several)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in ("x/y_mod", "x+y_mod")] == ["x/y_mod", "x+y_mod"]
    assert lines[-2].startswith("weight_norm: ")
    assert lines[-1] == "exactly as the run measured"
    assert main(["eval", str(several), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (trial,) = SweepFolder.open(several).state().trials.values()
    assert found["tasks"] == trial.task_metrics
    last = read_curves(SweepFolder.open(several)).to_pylist()[-1]
    assert last["gradient_norm"] > 0  # of the last step, and so not to be had again
    assert "gradient_norm" not in found["metrics"]
    assert found["metrics"]["weight_norm"] == last["weight_norm"]


def test_a_checkpoint_is_measured_exactly_as_the_run_measured_it(sums, capsys):
    curve = {row["step"]: row for row in read_curves(SweepFolder.open(sums)).to_pylist()}
    for which in ("last", "best"):
        assert main(["eval", str(sums), "--which", which, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["as_the_run_measured"] is True
        assert found["metrics"]
        assert {name: curve[found["step"]][name] for name in found["metrics"]} == found["metrics"]
        assert sum(found["examples"].values()) == 14 * 14


def test_a_table_of_losses_and_accuracies(sums, division, capsys):
    assert main(["eval", str(sums)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "exactly as the run measured"
    rows = [line.split()[0] for line in lines[3:-1]]
    assert rows == ["training", "held-out", "out"]
    curve = read_curves(SweepFolder.open(sums)).to_pylist()[-1]
    assert f"{curve['heldout_loss']:.6g}" in lines[4]
    assert max(map(len, lines[1:])) <= 80


def test_a_run_that_measured_otherwise_is_said_to_have(sums, tmp_path, capsys):
    from dataclasses import replace

    from grokray.engine.checkpoint import from_bytes, to_bytes

    checkpoint = from_bytes(files(sums)["last"].read_bytes())
    was = checkpoint.metrics["heldout_loss"]
    for value, verdict, to_rounding in (
        (1.0, "the run measured otherwise: heldout_loss is ", False),
        (was * (1 + 1e-6), "as the run measured, but for rounding: heldout_loss is ", True),
    ):
        metrics = {**checkpoint.metrics, "heldout_loss": value}
        (tmp_path / "other.pt").write_bytes(to_bytes(replace(checkpoint, metrics=metrics))[0])
        assert main(["eval", str(tmp_path / "other.pt")]) == 0
        assert verdict in capsys.readouterr().out
        assert main(["eval", str(tmp_path / "other.pt"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["as_the_run_measured"], found["as_the_run_measured_to_rounding"]) == (False, to_rounding)
    (tmp_path / "between.pt").write_bytes(to_bytes(replace(checkpoint, metrics={}))[0])
    assert main(["eval", str(tmp_path / "between.pt")]) == 0
    assert "the run did not measure at this step" in capsys.readouterr().out


def test_what_was_measured_before_the_first_step_is_said_to_be_in_the_curve(tmp_path, capsys):
    folder = train(tmp_path / "out", *SUMS, "--num_steps", "2", "--eval_start")
    capsys.readouterr()
    assert main(["eval", str(folder), "--which", "0"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "what the run measured before its first step is in its curve alone"


# -- in Python


def test_the_documented_examples_are_of_the_documented_sweep():
    text = (Path(grokray.__file__).parents[1] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = load_text(example, "checkpoints.md", "sums")
    ids = [config.trial_config(next(config.grid()), seed).id for seed in config.seeds]
    assert {*re.findall(r"\b[0-9a-f]{16}\b", text)} == {*ids} & {*re.findall(r"\w+", text)} != set()


def test_the_documented_example_sees_the_model_that_was_trained(sums, capsys):
    text = (Path(grokray.__file__).parents[1] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "load_model(" in c]
    (trial_id,) = [path.name for path in (sums / "checkpoints").iterdir()]
    seen = {}
    exec(code.replace('"out"', repr(str(sums))).replace("3ca6", trial_id[:4]), seen)
    trained, table, rows = seen["trained"], seen["table"], seen["split"].heldout
    assert repr(trained) == f"<trial {trial_id}, x+y, at step 100>"
    assert seen["embedding"].shape == (table.vocabulary.size, 16)
    assert [weights.shape[:2] for weights in seen["patterns"]] == [(len(seen["split"].train), 2)]
    targets, found = table.targets[rows], seen["logits"].argmax(-1).gather(1, table.positions[rows])
    right = ((found == targets) | (targets < 0)).all(1)
    assert float(right.double().mean()) == pytest.approx(trained.metrics["heldout_exact_match"])
    assert trained.metrics["heldout_exact_match"] > 0
    (ablation,) = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "without_first_head" in c]
    exec(ablation, seen)
    assert not torch.allclose(seen["model"](table.tokens[rows]), seen["logits"])
    seen["hook"].remove()
    assert torch.equal(seen["model"](table.tokens[rows]), seen["logits"])


def test_models_along_the_training_begin_before_its_first_step(differences, capsys):
    models = list(grokray.load_models(differences))
    assert [model.step for model in models] == [0, 50, 100]
    first, _, last = models
    stack = Stack(first.shape, device=torch.device("cpu"))
    seat = Seat(trial=first.config.id, dataset=first.dataset, tracker=EventTracker())
    stack.join(seat)
    for name, value in stack.read([seat.trial])[0]["parameters"].items():
        assert torch.equal(value, first.parameters[name])
    assert any(not torch.equal(value, last.parameters[name]) for name, value in first.parameters.items())
    assert (first.metrics, first.checkpoint.events["last_step"]) == ({}, 0)
    alone = grokray.load_model(differences, which=0)
    assert all(torch.equal(value, first.parameters[name]) for name, value in alone.parameters.items())
    assert main(["eval", str(differences), "--which", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the run did not measure at this step"
    with pytest.raises(
        ConfigError, match="is one checkpoint, but must be a folder"
    ):  # at once, not when it is gone through
        grokray.load_models(files(differences)["last"])


def test_the_documented_measure_of_ones_own_is_of_each_step(sums, capsys):
    text = (Path(grokray.__file__).parents[1] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "load_models" in c]
    seen = {}
    exec(code.replace('"out"', repr(str(sums))).replace(', trial="3ca6"', ""), seen)
    assert seen["mine"].index.tolist() == [0, *sorted({model.step for model in grokray.load_models(sums)} - {0})]
    assert seen["mine"]["exact_match"].iloc[-1] == grokray.load_model(sums).metrics["heldout_exact_match"]
    assert seen["mine"]["embedding_norm"].gt(0).all()


# -- how checkpoints are named


def test_a_file_or_a_folder_with_its_trial(sums, capsys):
    (trial_id,) = [path.name for path in (sums / "checkpoints").iterdir()]
    by_file = asked(capsys, str(files(sums)["last"]), "7 + 5")
    assert by_file == asked(capsys, str(sums), "7 + 5")
    assert by_file == asked(capsys, f"{sums}/", "7 + 5", "--trial", trial_id[:3])
    assert by_file == asked(capsys, str(sums), "7 + 5", "--which", "100")
    assert asked(capsys, str(files(sums)["best"]), "7 + 5") == asked(capsys, str(sums), "7 + 5", "--which", "best")


def test_a_checkpoint_may_be_moved_and_renamed(sums, tmp_path, capsys):
    shutil.copy(files(sums)["last"], tmp_path / "mine.pt")
    assert asked(capsys, str(tmp_path / "mine.pt"), "7 + 5") == asked(capsys, str(sums), "7 + 5")


def test_kept_steps_are_named_where_one_is_asked_for_that_is_not_there(differences, capsys):
    (line, hint) = error(capsys, "eval", str(differences), "--which", "7")
    assert "there is no checkpoint 7; there is: " in line
    assert "last (100)" in line
    assert hint.startswith("hint: grokray train keeps")


def test_what_is_no_checkpoint(sums, tmp_path, capsys):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    for name in ("text.pt", "empty.pt", "other.pt", "tensor.pt"):
        (line,) = error(capsys, "eval", str(tmp_path / name))
        assert line == f"error: {tmp_path}/{name} is not a checkpoint of grokray"
    assert error(capsys, "eval", str(tmp_path / "none")) == [
        f"error: {tmp_path}/none is missing: there is neither a file nor a folder"
    ]
    (line,) = error(capsys, "eval", str(tmp_path))
    assert "is no sweep's folder" in line
    assert error(capsys, "eval", str(sums), "--which", "worst") == [
        "error: which is 'worst', but must be last, best, or a step"
    ]
    assert error(capsys, "decode", str(sums), "7 + 5", "--which", "-1") == [
        "error: which is '-1', but must be last, best, or a step"
    ]
    (line,) = error(capsys, "eval", str(sums), "--trial", "zz")
    assert f"there is no checkpoint in {sums} of a trial whose id begins with 'zz'; there is " in line
    (line,) = error(capsys, "eval", str(files(sums)["last"]), "--trial", "zz")
    assert "is a checkpoint, not a folder of trials" in line


@pytest.mark.parametrize(
    ("asked_for", "message"),
    [
        (lambda sums: grokray.load_model(None), "path is null, but must be a path or a URI"),
        (lambda sums: grokray.load_model(b"x"), "path is b'x', but must be a path or a URI"),
        (lambda sums: grokray.load_model(""), "path is '', but must be a path or a URI"),
        (lambda sums: grokray.load_model(sums, trial=8), "trial is 8, but must be a trial's id, or how it begins"),
        (lambda sums: grokray.load_model(sums, trial=""), "trial is '', but must be a trial's id, or how it begins"),
    ],
)
def test_arguments_that_cannot_name_a_checkpoint(asked_for, message, sums):
    with pytest.raises(ConfigError) as refused:
        asked_for(sums)
    assert str(refused.value) == message


def test_threads_that_no_machine_has_are_refused(sums, capsys):
    (line,) = error(capsys, "eval", str(sums), "--threads", "99999")
    assert line.startswith("error: --threads is 99999, but must be at most ")


def test_a_step_of_very_many_digits_is_none(sums, capsys):
    (line,) = error(capsys, "eval", str(sums), "--which", "9" * 5000)
    assert re.fullmatch(r"error: which is '9+\.\.\., but must be last, best, or a step", line)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("foo", "device is 'foo', but must be auto, cpu, cuda, or such as cuda:1"),
        ("cuda", "device is cuda, but PyTorch finds 0 GPUs here"),
        ("cuda:1", "device is cuda:1, but PyTorch finds 0 GPUs here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(sums, monkeypatch, capsys, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError) as refused:
        grokray.load_model(sums, device=device)
    assert str(refused.value) == message
    assert error(capsys, "eval", str(sums), "--device", device) == [f"error: --{message}"]
    assert grokray.load_model(sums, device="auto").device == torch.device("cpu")


def test_what_may_have_no_end_is_not_read(capsys):
    for command in (["eval", "/dev/zero"], ["decode", "/dev/zero", "1 + 1"]):
        assert error(capsys, *command) == ["error: /dev/zero is no plain file"]


def test_a_damaged_file_is_not_believed(sums, tmp_path, capsys):
    original = files(sums)["last"]
    data = bytearray(original.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / original.name
    damaged.write_bytes(data)
    (line,) = error(capsys, "decode", str(damaged), "7 + 5")
    assert line.startswith(f"error: {damaged} is damaged: its sha256 is ")
    damaged.write_bytes(data[: len(data) // 2])
    assert "is damaged" in error(capsys, "eval", str(damaged))[0]


def test_parameters_of_another_model_are_refused(sums, tmp_path, capsys):
    from dataclasses import replace

    from grokray.engine.checkpoint import from_bytes, to_bytes

    checkpoint = from_bytes(files(sums)["last"].read_bytes())
    wide = {**checkpoint.config, "dim_model": 32}  # of a plain operation, so without a modulus
    residues = {**wide, "operation": "x+y_mod", "task_type": "classification", "base": None, "modulus": 5}
    for changes, message in (
        ({"config": wide}, "holds parameters of another model"),
        ({"config": {**wide, "colour": "blue"}}, "cannot be read by this version: colour"),
        ({"config": {**wide, "operation": "x@y_mod"}}, "cannot be read by this version: operation x@y_mod"),
        ({"config": {**wide, "operation": "x/y_mod"}}, "this version: no table is made of operation x/y_mod with"),
        ({"config": {**residues, "operand_limit": 99}}, "this version: no table is made of operation x+y_mod with"),
    ):
        other = replace(checkpoint, **changes)
        (tmp_path / "other.pt").write_bytes(to_bytes(other)[0])
        assert message in error(capsys, "eval", str(tmp_path / "other.pt"))[0]


def test_a_head_that_was_edited_to_other_types_is_one_error(sums, tmp_path, capsys):
    content = torch.load(files(sums)["last"], weights_only=True)
    head = json.loads(content["head"])
    moments = content["moment1"]
    for changes, message in (
        ({"step": "12"}, ": step is '12', but must be a whole number"),
        ({"step": -1}, ": step is -1, but must be at least 0"),
        ({"metrics": [1]}, ": metrics is [1], but must be a mapping"),
        ({"events": {"streak": "x"}}, ": events.streak is 'x', but must be a whole number"),
        ({"task_events": {"x+y": {"colour": 1}}}, ": it knows no task_events.x+y.colour"),
        ({}, ""),
    ):
        bad = {**content, "head": json.dumps({**head, **changes})}
        if not changes:
            bad["moment1"] = {**moments, next(iter(moments)): torch.zeros(3)}
        torch.save(bad, tmp_path / "bad.pt")
        (line,) = error(capsys, "eval", str(tmp_path / "bad.pt"))
        assert line == f"error: {tmp_path / 'bad.pt'} is not a checkpoint of grokray{message}"


def test_a_folder_that_kept_nothing(tmp_path, capsys):
    of_each = ("--eval_interval", "5", "--checkpoint_interval", "5")
    folder = train(tmp_path / "o", *SUMS, "--num_steps", "10", *of_each, "--keep_checkpoints", "none")
    (line, hint) = error(capsys, "eval", str(folder))
    assert line == f"error: {folder} holds no checkpoints"
    assert "keep_checkpoints" in hint


@pytest.mark.parametrize(("text", "kinds"), [("true", {"last"}), ("True", {"last"}), ("false", set())])
def test_true_and_false_are_rules_of_keeping_for_one_trial_too(text, kinds, tmp_path):
    folder = train(tmp_path / "o", *SUMS, "--num_steps", "10", "--keep_checkpoints", text)
    names = [path.name for path in folder.glob("checkpoints/*/*.pt")]
    assert {name.partition("-")[0] for name in names} == kinds
