"""Conditions as texts: which trials fulfil them, and what is refused."""

from __future__ import annotations

import pytest

import grokray
from grokray.errors import ConfigError


@pytest.fixture(scope="module")
def analysis(sweep_path):
    return grokray.load(sweep_path)


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        (["weight_decay>=0.1"], lambda t: t.weight_decay >= 0.1),
        (["weight_decay < 0.1", " dropout<=.2 "], lambda t: (t.weight_decay < 0.1) & (t.dropout <= 0.2)),
        (["weight_decay>1e-1", "base!=2"], lambda t: (t.weight_decay > 0.1) & (t.base != 2)),
        (["base=10"], lambda t: t.base == 10),
        (["base==10"], lambda t: t.base == 10),
        (["base<=10"], lambda t: t.base <= 10),
        (["base=none"], lambda t: t.base.isna()),
        (["base!=none"], lambda t: t.base.notna()),
        (["digit_order=none"], lambda t: t.digit_order.isna()),
        (["digit_order!=most_first"], lambda t: t.digit_order != "most_first"),
        (["task_type=sequence", "seed=0"], lambda t: (t.task_type == "sequence") & (t.seed == 0)),
        (["operation=x/y_mod", "configuration<20"], lambda t: t.configuration < 20),
        (["continue_training=false", "sweep=robust"], lambda t: t.seed >= 0),
        (["fixed_sequence_length!=true"], lambda t: t.fixed_sequence_length != True),  # noqa: E712
    ],
)
def test_a_condition_means_what_a_comparison_of_the_column_means(analysis, texts, chosen):
    expected = analysis.trials[chosen(analysis.trials)]
    assert analysis.where(*texts).trials["trial_id"].tolist() == expected["trial_id"].tolist()
    assert len(expected)


def test_what_was_chosen_is_said_wherever_it_came_from(analysis):
    part = analysis.where("base == 10", "weight_decay>=0.1").where("weight_decay>=0.1")
    number = len(part.trials)
    assert part.overview().notes[-1] == f"{number} of 300 trials were chosen: base=10, weight_decay>=0.1"
    assert part.overview().table["chosen"].tolist() == ["base=10, weight_decay>=0.1"]
    mixed = analysis.where("base=10", analysis.trials["weight_decay"] >= 0.1)
    assert mixed.trials["trial_id"].tolist() == part.trials["trial_id"].tolist()
    assert mixed.overview().notes[-1] == f"{number} of 300 trials were chosen: base=10, by hand"
    assert "chosen" not in analysis.overview().table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "weight_decay",
            "that is no condition; one is a column, one of =, !=, <, <=, >, >=, and a value, such as 'weight_",
        ),
        ("", "that is no condition"),
        ("0.1<weight_decay<1", "that is no condition"),
        ("weight_deca>=1", "the trials have no column weight_deca; the nearest is weight_decay"),
        ("wd>=1", "the trials have no column wd; the nearest is weight_decay"),
        ("nix=1", "the trials have no column nix; the parameters that vary are weight_decay, dropout, "),
        ("grok_step<1000", "grok_step is what came of trials, and those that are chosen by it are no fair sample"),
        *((f"{name}=1", f"{name} is what came of trials") for name in ("phase", "outcome", "state", "audited")),
        *((f"{name}>1", f"{name} is what came of trials") for name in ("steps_trained", "best_heldout_loss")),
        ("final_train_loss<1", "final_train_loss is what came of trials"),
        ("weight_decay~0.1", "~ is no operator; there are =, !=, <, <=, >, >="),
        ("weight_decay=>>0.1", "=>> is no operator"),
        ("weight_decay>=", "there is no value behind the operator"),
        ("weight_decay>=x", "weight_decay is a number, and 'x' is none"),
        ("weight_decay>=nan", "weight_decay is a number, and 'nan' is none"),
        ("weight_decay>=__import__('os').getpid()", "weight_decay is a number, and "),
        ("weight_decay>5", "none of 300 trials fulfils it; weight_decay is from 0.0"),
        ("base=7", "none of 300 trials fulfils it; base is 2, 10, 64 or none"),
        ("base>none", "> has no meaning for a value that is none; = and != have one"),
        ("task_type>sequence", "> has no meaning for texts; = and != have one"),
        ("task_type!=sequenc", "no trial has task_type sequenc; the nearest is sequence"),
        ("task_type=7", "no trial has task_type 7; there are classification, sequence"),
        ("continue_training=1", "continue_training is true or false, and not '1'"),
        ("continue_training<true", "< has no meaning for true and false"),
    ],
)
def test_what_is_refused(analysis, text, message):
    with pytest.raises(ConfigError) as found:
        analysis.where(text)
    assert str(found.value).startswith(f"where {text}: {message}")


def test_all_that_is_wrong_is_said_at_once_and_what_holds_of_none_together(analysis):
    with pytest.raises(ConfigError) as found:
        analysis.where("nix=1", "base=10", "dropout>x")
    assert [str(problem).split(":")[0] for problem in found.value.problems] == ["where nix=1", "where dropout>x"]
    message = "where base=10 and task_type=classification: none of 300 trials fulfils all of them"
    with pytest.raises(ConfigError, match=message):
        analysis.where("base=10", "task_type=classification")
    with pytest.raises(ConfigError, match="where needs a condition, or a truth for each trial"):
        analysis.where()


def test_a_text_of_that_name_comes_before_no_value():
    from grokray.analysis.conditions import chosen_by
    from tests.analysis.tables import trials_of

    trials = trials_of(3, norm=["none", "layer", "layer"], base=[2, None, 10])
    assert chosen_by(trials, ["norm=none"])[0].tolist() == [True, False, False]
    assert chosen_by(trials, ["norm!=none"])[0].tolist() == [False, True, True]
    assert chosen_by(trials, ['measure=""'])[0].all()
    assert chosen_by(trials, ["base=none"])[0].tolist() == [False, True, False]


def test_a_checkpoint_is_chosen_as_tables_write_it():
    from grokray.analysis.conditions import chosen_by
    from tests.analysis.tables import trials_of

    path = f"/a/checkpoints/ae50d0f563955fdb/0000002000-{'0' * 64}.pt"
    trials = trials_of(3, initial_checkpoint=[path, None, path.replace("2000", "4000")])
    for text in ("ae50d0f5 at 2,000", path):
        assert chosen_by(trials, [f"initial_checkpoint={text}"])[0].tolist() == [True, False, False]
