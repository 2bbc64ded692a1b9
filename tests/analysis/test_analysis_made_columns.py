"""Columns made of others: what they hold, what is refused, and how the analysis takes them."""

from __future__ import annotations

import numpy as np
import pytest

import grokray
from grokray.analysis.findings.critical import critical_fraction
from grokray.analysis.findings.effects import effects
from grokray.analysis.findings.groups import main_parameters
from grokray.analysis.made_columns import exponents, made_of, with_made
from grokray.analysis.robustness import robustness
from grokray.analysis.space import space_of_trials
from grokray.errors import ConfigError
from tests.analysis.tables import trials_of

PRODUCT = "learning_rate*weight_decay"


@pytest.fixture(scope="module")
def analysis(sweep_path):
    return grokray.load(sweep_path)


def phase_diagram(size: int = 300, **columns):
    """Trials of which the product of learning rate and weight decay alone says when they grok: a doubling halves it."""
    rng = np.random.default_rng(1)
    rate, decay = 10 ** rng.uniform(-4, -2, size), 10 ** rng.uniform(-2, 1, size)
    step = np.ceil(5e-4 / (rate * decay) * np.exp(rng.normal(0, 0.4, size))) * 1_000
    step[step > 20_000] = np.nan
    columns = {
        "learning_rate": rate,
        "weight_decay": decay,
        "grok_step": step,
        "grok_step_lower": step - 1_000,
    } | columns
    columns["grok_step_lower"] = [None if np.isnan(one) else int(one) for one in columns["grok_step_lower"]]
    steps = [20_000 if np.isnan(one) else int(one) for one in step]
    return trials_of(size, **columns, num_steps=20_000, duration_steps=steps)


def shrinking(text: str = PRODUCT, **columns):
    return with_made(phase_diagram(**columns), "shrinkage", text)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("weight_decay * dropout", lambda t: t.weight_decay * t.dropout),
        ("weight_decay**2/(1 + dropout)", lambda t: t.weight_decay**2 / (1 + t.dropout)),
        ("-weight_decay**-0.5 - 2e3*dropout", lambda t: -(t.weight_decay**-0.5) - 2000 * t.dropout),
        ("base*modulus", lambda t: t.base * t.modulus),
    ],
)
def test_values_are_those_of_the_arithmetic_and_null_where_a_part_is(analysis, text, value):
    made = analysis.with_column("made", text).trials
    assert made["made"].to_numpy() == pytest.approx(value(made).to_numpy(), nan_ok=True)
    assert "made" not in analysis.trials


def test_what_is_no_number_is_null_and_said(analysis):
    made = analysis.with_column("made", "1 / (base - 10)")
    assert (made.trials["made"].isna() == (made.trials["base"].isna() | (made.trials["base"] == 10))).all()
    number = int((made.trials["base"] == 10).sum())
    assert made.overview().notes == (f"made is no number for {number} trials", "made is 1 / (base - 10)")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("made", "weight_deca*2", "but the trials have no column weight_deca; the nearest is weight_decay"),
        ("made", "grok_step/num_steps", "but grok_step is what came of trials, and parameters alone may be in it"),
        ("made", "task_type*2", "but task_type is no number"),
        ("made", "continue_training*2", "but continue_training is no number"),
        ("made", "2*3", "but must name a column; it is the same for all trials"),
        ("made", "1/(dropout-dropout)", "but is a number for no trial"),
        ("made", "weight_decay*", "but that is no expression; one is learning_rate*weight_decay"),
        ("made", "", "but must be an expression, such as learning_rate*weight_decay"),
        ("made", "abs(weight_decay)", "but may hold only names of columns, numbers, + - * / **, and parentheses; "),
        ("made", "__import__('os').getpid()*weight_decay", "but may hold only names of columns"),
        ("made", "weight_decay.real", "but may hold only names of columns"),
        ("made", "weight_decay**dropout", "but an exponent must be a number; one is dropout"),
        ("made", "weight_decay**999", "but an exponent must be from -64 to 64"),
        ("made", "weight_decay*1j", "but may hold only names of columns"),
        ("made", "weight_decay*1" + "0" * 310, "but must have at most 200 characters; it has "),
        ("made", "weight_decay*True", "but may hold only names of columns"),
        ("made", "(" * 30 + "weight_decay" + "*2)" * 30, "but must be nested at most 24 deep"),
        ("weight_decay", "dropout*2", "but the trials have a column weight_decay already"),
        ("two words", "dropout*2", "but its name must be a word, of letters, digits and _"),
    ],
)
def test_what_is_refused(analysis, name, text, message):
    with pytest.raises(ConfigError) as found:
        analysis.with_column(name, text)
    assert str(found.value).startswith(f"column {name} is {text or chr(39) * 2}, {message}")


def test_a_part_of_the_trials_has_it_too_and_conditions_may_name_it(analysis):
    part = (
        analysis.with_column("made", "weight_decay*dropout")
        .where("made>=0.02", "base=10")
        .with_column("more", "made**2")
    )
    trials = analysis.trials
    chosen = (trials["weight_decay"] * trials["dropout"] >= 0.02) & (trials["base"] == 10)
    assert part.trials["trial_id"].tolist() == trials["trial_id"][chosen].tolist()
    assert made_of(part.sweeps.trials) == {"made": "weight_decay * dropout", "more": "made ** 2"}
    assert exponents(part.sweeps.trials, "more") == {"weight_decay": 2, "dropout": 2}


@pytest.mark.parametrize(
    ("text", "powers"),
    [
        ("2*learning_rate**2/weight_decay**0.5", {"learning_rate": 2, "weight_decay": -0.5}),
        ("learning_rate*weight_decay/weight_decay", {"learning_rate": 1}),
        ("-2*learning_rate", None),
        ("0*learning_rate + weight_decay", None),
    ],
)
def test_powers_of_a_product(text, powers):
    assert exponents(with_made(trials_of(3), "made", text)[0], "made") == powers


def test_a_column_that_is_the_same_for_all_makes_no_groups(analysis):
    made = analysis.with_column("made", "base*modulus").where("base=10")
    assert "made" not in main_parameters(made.sweeps.trials)
    assert "made" not in made.robustness().tables["profiles"]["parameter"].tolist()


def test_groups_profiles_and_diagrams_take_it_like_a_parameter(analysis):
    made = analysis.with_column("made", "weight_decay*dropout")
    assert main_parameters(made.sweeps.trials)[0] == "made"
    survival = made.survival()
    assert survival.tables["tests"]["parameter"].tolist()[0] == "made"
    profiles = made.robustness().tables["profiles"]
    along = profiles[profiles["parameter"] == "made"]
    assert len(along) == 8
    assert along["configurations"].between(5, 13).all()  # which count, of 100 of which many were pruned
    assert made.robustness().table.equals(analysis.robustness().table)
    assert [axis.name for axis in space_of_trials(made.sweeps.trials).axes] == [
        axis.name for axis in space_of_trials(analysis.sweeps.trials).axes
    ]
    assert made.overview().tables["parameters"].iloc[-1].tolist()[:2] == ["made", "weight_decay * dropout"]
    assert made.plot_phases("made", "weight_decay").get_xlabel() == "made"
    assert len(critical_fraction(made.sweeps.trials, by="made").table) == 4


def test_of_a_product_and_its_factors_one_follows_and_the_model_is_the_same():
    plain, made = effects(phase_diagram()), effects(shrinking())
    ratios = {one.name: one.ratio for one in plain.estimates.aft.effects}
    found = {one.name: one for one in made.estimates.aft.effects}
    assert [*found] == ["shrinkage", "weight_decay"]
    assert made.estimates.aft.aic == pytest.approx(plain.estimates.aft.aic)
    assert found["shrinkage"].ratio == pytest.approx(ratios["learning_rate"], rel=1e-4)
    assert found["weight_decay"].ratio == pytest.approx(ratios["weight_decay"] / ratios["learning_rate"], rel=1e-4)
    assert found["weight_decay"].lower < 1 < found["weight_decay"].upper  # the product alone says when
    assert found["shrinkage"].label == "a doubling of shrinkage"
    assert (
        "learning_rate is left out: shrinkage is learning_rate * weight_decay, so it says no more than shrinkage and "
        "weight_decay; the ratio of weight_decay is one at the same shrinkage"
    ) in made.notes


def test_factors_count_in_doublings_also_where_they_span_less_than_ten():
    rate = np.random.default_rng(1).uniform(0.001, 0.004, 300)
    labels = [
        one.label
        for one in effects(
            shrinking("dropout*learning_rate", learning_rate=rate, dropout=rate * 9)
        ).estimates.aft.effects
    ]
    assert "a doubling of shrinkage" in labels
    assert not any("+" in label for label in labels)


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ((PRODUCT, "learning_rate/weight_decay"), ["made0", "made1"]),
        ((PRODUCT, "weight_decay*learning_rate*3"), ["made0", "weight_decay"]),
        (("weight_decay**2",), ["made0", "learning_rate"]),
        (("2 - weight_decay/learning_rate",), ["made0", "weight_decay", "learning_rate"]),
        (("weight_decay + learning_rate",), ["made0", "weight_decay", "learning_rate"]),
        (("weight_decay*num_steps",), ["made0", "learning_rate"]),
    ],
)
def test_as_many_effects_as_there_are_things_that_vary(texts, names):
    trials = phase_diagram()
    for number, text in enumerate(texts):
        trials, _ = with_made(trials, f"made{number}", text)
    assert [one.name for one in effects(trials).estimates.aft.effects] == names


def test_what_varies_but_is_no_cause_leaves_every_factor_in():
    steps = np.where(np.arange(300) % 2, 20_000, 30_000)
    trials, _ = with_made(phase_diagram(), "made", "weight_decay*batch_size")
    assert [one.name for one in effects(trials).estimates.aft.effects] == ["made", "learning_rate"]
    place = trials.schema.get_field_index("num_steps")
    trials = trials.set_column(place, "num_steps", [steps]).drop_columns(["made"])
    trials, _ = with_made(trials, "made", "weight_decay*num_steps")
    assert [one.name for one in effects(trials).estimates.aft.effects] == ["made", "weight_decay", "learning_rate"]


def test_a_model_of_the_space_has_no_profile_along_it():
    import dataclasses

    trials = shrinking()
    space = dataclasses.replace(space_of_trials(trials), method="tpe")
    found = robustness(trials, space, replicates=5)
    assert [profile.name for profile in found.profiles] == ["learning_rate", "weight_decay"]
    assert any(note.startswith("no profile along shrinkage") for note in found.notes)
