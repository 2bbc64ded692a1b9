from __future__ import annotations

import numpy as np
import pytest

from grokray.analysis.drawn import weights_of_drawn
from grokray.analysis.findings.robustness import headline
from grokray.analysis.neighbours import Neighbours
from grokray.analysis.robustness import LONE, by_configuration, robustness
from grokray.analysis.space import Axis, Space
from tests.analysis.tables import grokking, trials_of

DECAY = Axis(name="weight_decay", kind="log", low=0.01, high=1)
FRACTION = Axis(name="training_fraction", low=0.2, high=0.8)
TASK = Axis(name="task_type", values=("classification", "sequence"), probabilities=(0.5, 0.5))


def chance(decay, fraction):
    """Log-odds linear in the space's own coordinates; one half on average by symmetry."""
    u, v = (np.log(decay) - np.log(0.01)) / np.log(100), (fraction - 0.2) / 0.6
    return 1 / (1 + np.exp(-8 * (u + v - 1)))


def sweep(rng, configurations: int, seeds: int = 3, u=None, v=None):
    u, v = (rng.random(configurations) if x is None else x for x in (u, v))
    decay, fraction = 0.01 * 100**u, 0.2 + 0.6 * v
    happened = rng.random((configurations, seeds)) < chance(decay, fraction)[:, None]
    return {
        "weight_decay": np.repeat(decay, seeds),
        "training_fraction": np.repeat(fraction, seeds),
        "configuration": np.repeat(np.arange(configurations), seeds),
        "init_seed": np.tile(np.arange(seeds), configurations),
        "grok_step": grokking(happened.ravel()),
    }


def test_an_even_sweep_gives_the_share_of_the_space_and_covers_it():
    rng, covered = np.random.default_rng(0), 0
    space = Space(axes=(DECAY, FRACTION), method="random")
    for _ in range(100):
        found = robustness(trials_of(180, **sweep(rng, 60)), space, replicates=200)
        covered += found.share.lower <= 0.5 <= found.share.upper
    assert 87 <= covered <= 99
    assert (found.trials, found.configurations, found.adaptive, found.notes) == (180, 60, False, ())
    assert found.effective == pytest.approx(60)
    assert found.over_seeds is not None
    assert found.over_seeds.upper - found.over_seeds.lower > 0.9 * (found.share.upper - found.share.lower)


def test_profiles_follow_the_truth_along_each_parameter():
    found = robustness(
        trials_of(3000, **sweep(np.random.default_rng(0), 1000)), Space(axes=(DECAY, FRACTION), method="sobol")
    )
    decay, fraction = found.profiles
    assert (decay.name, fraction.name) == ("weight_decay", "training_fraction")
    assert decay.labels[0] == "0.01 to 0.0178"
    v = np.linspace(0, 1, 200)
    for number in range(8):
        u = np.linspace(number, number + 1, 20)[:, None] / 8
        truth = chance(0.01 * 100**u, 0.2 + 0.6 * v).mean()
        assert decay.share[number] == pytest.approx(truth, abs=0.08)
        assert decay.lower[number] < decay.share[number] < decay.upper[number]
    assert decay.configurations.sum() == 1000


def test_each_configuration_counts_once():
    trials = trials_of(5, configuration=[0, 0, 0, 0, 1], dropout=[0.1] * 4 + [0.2], grok_step=[9, 9, 9, 9, None])
    assert robustness(trials).share.value == 0.5


def test_where_good_places_are_crowded_the_model_mends_the_share():
    rng = np.random.default_rng(1)
    # As an adaptive search has it: most configurations are where grokking is likely.
    u, v = np.r_[rng.beta(5, 1, 500), rng.random(100)], np.r_[rng.beta(5, 1, 500), rng.random(100)]
    trials = trials_of(1800, **sweep(rng, 600, 3, u, v))
    plain = robustness(trials, Space(axes=(DECAY, FRACTION), method="random"))
    assert plain.share.lower > 0.7
    found = robustness(trials, Space(axes=(DECAY, FRACTION), method="tpe"))
    assert found.adaptive
    assert "the nearest 12 configurations" in found.notes[0]
    assert found.share.value == pytest.approx(0.5, abs=0.05)
    assert found.share.lower < 0.5 < found.share.upper
    assert found.effective < 600
    assert found.profiles[0].share[0] < 0.25
    assert found.over_seeds is not None


def test_a_model_over_conditions_and_choices():
    rng = np.random.default_rng(0)
    base = Axis(name="base", values=(2, 10), probabilities=(0.5, 0.5), when={"task_type": ("sequence",)})
    kind = rng.choice(3, 300, p=[0.1, 0.2, 0.7])  # classification, base 2, base 10: not as an even draw has it
    trials = trials_of(
        300,
        task_type=np.where(kind == 0, "classification", "sequence").tolist(),
        base=[[None, 2, 10][k] for k in kind],
        grok_step=grokking(kind != 1),
    )
    found = robustness(trials, Space(axes=(TASK, base), method="tpe"))
    assert found.share.value == pytest.approx(0.75, abs=0.02)
    assert found.profiles[1].labels == ["2", "10"]
    assert found.profiles[1].share == pytest.approx([0, 1])


def test_the_model_against_a_plain_loop():
    rng = np.random.default_rng(2)
    space, points = Space(axes=(DECAY, FRACTION)), rng.random((80, 2))
    mass, hits = rng.uniform(0.5, 4, 80), np.zeros(80)
    hits[:40] = mass[:40]
    model = Neighbours(space, points, mass, hits)
    drawn = np.bincount(rng.integers(80, size=80), minlength=80)
    fast = model.shares(drawn)
    for place in range(0, len(model.even), 97):
        order = np.argsort(((points - model.even[place]) ** 2).sum(axis=1))
        copies = np.repeat(order, drawn[order])
        last = copies[model.k - 1]  # all copies of the last one are in
        chosen = copies[: np.flatnonzero(copies == last)[-1] + 1]
        assert fast[place] == pytest.approx(hits[chosen].sum() / mass[chosen].sum())


def grid(task: list[str], base: list, grok_step: list):
    return trials_of(len(task), task_type=task, base=base, grok_step=grok_step)


def test_a_whole_grid_is_weighed_by_the_space_and_one_cut_short_is_not_even():
    base = Axis(name="base", values=(2, 10, 64), probabilities=(1 / 3,) * 3, when={"task_type": ("sequence",)})
    space = Space(axes=(TASK, base), method="grid")
    task, bases = ["classification"] + ["sequence"] * 3, [None, 2, 10, 64]
    whole = robustness(grid(task, bases, [100, None, None, 100]), space)
    assert not whole.adaptive
    assert whole.share.value == pytest.approx(0.5 + 0.5 / 3)
    assert robustness(grid(task[:3], bases[:3], [100, None, None]), space).adaptive


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_space_whose_few_points_were_all_drawn_is_weighed_as_a_whole_grid(method):
    base = Axis(name="base", values=(2, 10), probabilities=(0.9, 0.1), when={"task_type": ("sequence",)})
    space = Space(axes=(TASK, base), method=method)
    task, bases = ["classification", "sequence", "sequence"], [None, 2, 10]
    found = robustness(grid(task, bases, [None, 100, None]), space)
    assert (found.adaptive, found.share.value) == (False, pytest.approx(0.45))
    # Of those with probabilities 0.5 and 0.45, which came before the one with 0.05.
    some = robustness(grid(task[:2], bases[:2], [None, 100]), space)
    assert (some.adaptive, some.share.value) == (False, pytest.approx(10 / 21))


def test_configurations_of_one_point_share_what_it_stands_for():
    """Of four bases as likely as classification the sweep has one, and two learning rates that its space has not."""
    base = Axis(name="base", values=(2, 4, 8, 16), probabilities=(0.25,) * 4, when={"task_type": ("sequence",)})
    trials = trials_of(
        3, task_type=["classification", "sequence", "sequence"], base=[None, 2, 2], grok_step=[None, 100, None]
    )
    space = Space(axes=(TASK, base), method="random")
    alone, half = weights_of_drawn(np.array([0.5, 0.125]))
    assert robustness(trials, space).share.value == pytest.approx(half / 2 / (alone + half))


def test_a_space_without_parameters_has_one_point():
    trials = trials_of(4, model_seed=[0, 1, 2, 3], configuration=[0] * 4, grok_step=[None, 100, 100, 100])
    assert robustness(trials, Space(axes=(), method="random")).share.value == pytest.approx(0.75)


def test_without_audits_the_share_has_a_floor():
    trials = trials_of(4, outcome=["grokked", "budget", "pruned", "pruned"], grok_step=[100, None, None, None])
    found = robustness(trials)
    assert found.at_least
    assert (found.share.value, found.at_least.value) == (0.5, 0.25)
    assert 0 < found.at_least.lower < 0.1  # of 1 in 4
    assert found.at_least.upper > 0.6
    assert any("none was audited" in note for note in found.notes)


def test_the_floor_is_of_the_same_space_as_the_share():
    """Classification is half of it, and never grokked; of four bases one was pruned."""
    trials = trials_of(
        5,
        task_type=["classification"] + ["sequence"] * 4,
        base=[None, 2, 3, 5, 7],
        outcome=["budget"] + ["grokked"] * 3 + ["pruned"],
        grok_step=[None, 9, 9, 9, None],
    )
    task = Axis(name="task_type", values=("classification", "sequence"), probabilities=(0.5, 0.5))
    base = Axis(name="base", values=(2, 3, 5, 7), probabilities=(0.25,) * 4, when={"task_type": ("sequence",)})
    found = robustness(trials, Space(axes=(task, base), method="grid"))
    assert found.share.value == pytest.approx(3 / 7)
    assert found.at_least
    assert found.at_least.value == pytest.approx(3 / 8)
    assert robustness(trials, Space(axes=(task, base), method="tpe")).at_least is None


def test_profiles_of_a_model_are_no_points():
    decay = np.r_[np.linspace(0.11, 0.19, 3), np.linspace(0.61, 0.99, 9)]
    found = robustness(
        trials_of(12, weight_decay=decay, grok_step=grokking(decay > 0.5)), Space(axes=(DECAY,), method="tpe")
    )
    (profile,) = found.profiles
    assert profile.share[-1] == profile.upper[-1] == 1
    assert profile.lower[-1] < 0.9


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_where_all_agree_or_few_are_known_the_interval_is_not_a_point(method):
    space = Space(axes=(DECAY,), method=method)
    found = robustness(
        trials_of(36, configuration=np.repeat(range(12), 3), weight_decay=0.1, grok_step=[9] * 36), space
    )
    assert (found.share.value, found.share.upper) == (1, 1)
    assert found.share.lower < 0.85
    assert found.share.method.endswith("Wilson by configuration")
    few = robustness(trials_of(3, weight_decay=[0.1, 0.2, 0.3], grok_step=[9, None, 9]), space)
    assert few.share.lower < 0.25


def test_nothing_known_is_no_number():
    for method in ("random", "tpe"):
        found = robustness(trials_of(3, outcome="failed"), Space(axes=(DECAY,), method=method))
        assert np.isnan(found.share.value)
        assert found.configurations == 0


def test_the_chance_of_each_configuration_over_its_seeds():
    trials = trials_of(
        7,
        configuration=[4, 4, 4, 8, 8, 8, 9],
        grok_step=[1, 1, 1, 1, None, None, None],
        outcome=["grokked"] * 4 + ["budget"] * 2 + ["failed"],
    )
    found = by_configuration(trials)
    assert found.configuration.tolist() == [4, 8, 9]
    assert found.shares.share[:2].tolist() == pytest.approx([1, 1 / 3])
    assert found.shares.trials.tolist() == [3, 3, 0]
    assert found.shares.lower[0] == pytest.approx(0.4385, abs=1e-3)  # Wilson, 3 of 3
    assert found.agreement() == {"all": 1, "some": 1, "none": 0}


def of_one_configuration():
    return trials_of(20, configuration=3, init_seed=np.arange(20), grok_step=grokking(np.arange(20) < 12))


def test_of_a_space_of_one_configuration_the_seeds_are_what_varies():
    """12 of 20: Wilson's interval of 20 independent trials, not of one."""
    trials = of_one_configuration()
    found = robustness(trials, Space(axes=(), method="random"))
    assert found.share.value == pytest.approx(0.6)
    assert 0.35 < found.share.lower < 0.45
    assert 0.75 < found.share.upper < 0.85
    assert found.share.method == "weighted mean, Wilson by seed"
    assert (found.configurations, found.over_seeds) == (1, None)
    few = robustness(trials.slice(10, 4), Space(axes=(), method="random"))
    assert few.share.method == "weighted mean, Wilson by seed"
    assert few.share.lower == pytest.approx(0.1253, abs=1e-3)  # of 2 in 4, with the spread of so few


def test_one_configuration_of_many_says_nothing_of_the_space():
    found = robustness(of_one_configuration(), Space(axes=(DECAY,), method="random"))
    assert found.share.value == pytest.approx(0.6)
    assert np.isnan([found.share.lower, found.share.upper]).all()
    assert (found.notes, found.over_seeds) == ((LONE,), None)
    sentence = "Grokking happens within the budget in 60.0 % of the trials, all of one configuration ("
    assert headline(found, 0.95).startswith(sentence)


def test_a_late_trial_that_grokked_is_no_failure_of_the_least_share():
    """Without an audit: of four that were to be stopped one grokked before the stop reached it."""
    late = trials_of(
        8,
        weight_decay=np.linspace(0.1, 1, 8),
        grok_step=grokking([True] * 3 + [False] * 5),
        outcome=["grokked"] * 3 + ["budget"] * 2 + ["pruned"] * 3,
        stop_step=[None, None, 100, None, None, 100, 100, 100],
    )
    found = robustness(late)
    assert (found.trials, found.share.value) == (4, 0.5)
    assert found.at_least.value == pytest.approx(3 / 8)


def test_what_is_seen_moves_both_ends_of_the_interval():
    decay = np.random.default_rng(0).uniform(0.1, 2, 20)
    found = [
        robustness(trials_of(20, weight_decay=decay, grok_step=grokking(np.arange(20) < number))).share
        for number in (0, 1, 2, 18, 19, 20)
    ]
    assert all(0 <= one.lower <= one.value <= one.upper <= 1 for one in found)
    assert [one.value > 0 for one in found] == [one.lower > 0 for one in found]  # what was seen is not refuted
    assert [one.value < 1 for one in found] == [one.upper < 1 for one in found]
    for ends in ([one.lower for one in found], [one.upper for one in found]):
        assert ends == sorted(ends)


def test_a_model_of_what_decides_all_is_no_point_either():
    """Half of the space groks always and half never, so that all resamples agree."""
    trials = trials_of(60, num_steps=np.repeat([5000, 20_000], 30), grok_step=grokking(np.arange(60) >= 30))
    axis = Axis(name="num_steps", values=(5000, 20_000), probabilities=(0.5, 0.5))
    found = robustness(trials, Space(axes=(axis,), method="tpe"))
    assert found.share.value == pytest.approx(0.5, abs=0.02)
    assert found.share.upper - found.share.lower > 0.15
