"""What early measurements tell of later grokking: concordance, landmarks, and the finding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import grokray
from grokray.analysis import concordance as module
from grokray.analysis.concordance import FEWEST, NO_TWO, TOO_FEW, UNMOVED, concordance
from grokray.analysis.figures.predictors import MOST_MEASURES, foremost_measures
from grokray.analysis.findings import predictors as finding
from grokray.analysis.intervals import student_quantile, wilson
from grokray.analysis.landmarks import Landmark, landmarks, steps_of, until
from grokray.analysis.outcomes import NOBODY, outcomes
from grokray.analysis.sweeps import load_sweeps
from grokray.analysis.times import Times, times_of
from grokray.errors import ConfigError

INTERVAL, BUDGET = 10.0, 200.0


def trials(n: int, seeds: int = 1, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, Times]:
    """Numbers, ties among them, and times of trials of which some grok and some are watched for less long."""
    rng = np.random.default_rng(seed)
    truth = rng.exponential(100, n)
    upper = np.ceil(truth / INTERVAL) * INTERVAL
    seen = np.where(rng.random(n) < 0.3, 60.0, BUDGET)
    observed = upper <= seen
    times = Times.of(
        np.where(observed, upper - INTERVAL, seen),
        np.where(observed, upper, np.inf),
        weight=rng.choice([0.0, 1.0, 4.0], n),
        cluster=np.arange(n) // seeds,
    )
    return np.round(-np.log(truth) + rng.normal(0, noise, n), 1), times


def by_definition(x: np.ndarray, times: Times, within: bool | None = None) -> float:
    """Of pairs of one configuration, of several, or of all."""
    agree = known = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            if within is not None and (times.codes[i] == times.codes[j]) != within:
                continue
            if times.upper[i] <= times.lower[j]:
                weight = times.weight[i] * times.weight[j]
                known += weight
                agree += weight * (1.0 if x[i] > x[j] else 0.5 if x[i] == x[j] else 0.0)
    return agree / known


@pytest.mark.parametrize("seeds", [1, 3])
def test_it_is_the_share_of_pairs_that_agree(seeds):
    x, times = trials(120, seeds)
    found = concordance(x, times)
    assert found.among_all.value == pytest.approx(by_definition(x, times), rel=1e-12)
    assert (found.trials, found.grokked) == (int((times.weight > 0).sum()), int(times.counted().observed.sum()))
    if seeds == 3:
        assert found.within.value == pytest.approx(by_definition(x, times, within=True), rel=1e-12)
    else:
        assert found.within.note == NO_TWO


@pytest.mark.parametrize("seeds", [1, 3])
def test_its_error_is_that_of_leaving_out_each_configuration(seeds):
    x, times = trials(120, seeds)
    times = replace(times, weight=np.maximum(times.weight, 1.0))
    found = concordance(x, times, 0.9).among_all
    clusters = range(int(times.codes.max()) + 1)
    zs = [
        np.arctanh(2 * by_definition(x[kept], times.select(kept)) - 1) for c in clusters for kept in [times.codes != c]
    ]
    error = math.sqrt((len(zs) - 1) / len(zs) * np.sum((np.array(zs) - np.mean(zs)) ** 2))
    d = 2 * found.value - 1
    assert found.standard_error == pytest.approx(error * (1 - d**2) / 2, rel=1e-9)
    assert found.lower < found.value < found.upper
    assert np.arctanh(2 * found.upper - 1) - np.arctanh(d) == pytest.approx(
        np.arctanh(d) - np.arctanh(2 * found.lower - 1), rel=1e-9
    )


def test_blocks_of_several_configurations_are_left_out_whole(monkeypatch):
    x, times = trials(90, 3)
    monkeypatch.setattr("grokray.analysis.jackknifed.MOST_BLOCKS", 7)
    found = concordance(x, times)
    counted, own = times.counted(), x[times.weight > 0]
    block = (np.random.default_rng(0).permutation(int(counted.codes.max()) + 1) % 7)[counted.codes]
    zs = [np.arctanh(2 * by_definition(own[block != b], counted.select(block != b)) - 1) for b in range(7)]
    error = math.sqrt(6 / 7 * np.sum((np.array(zs) - np.mean(zs)) ** 2))
    d = 2 * found.among_all.value - 1
    assert found.among_all.standard_error == pytest.approx(error * (1 - d**2) / 2, rel=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of independent trials without noise in the measure's order the truth follows from many of them."""
    truth = concordance(*trials(20_000, seed=1)).among_all.value
    found = [concordance(*trials(100, seed=seed)).among_all for seed in range(2, 202)]
    held = np.mean([one.lower <= truth <= one.upper for one in found])
    assert 0.9 <= held <= 0.99
    assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.01)


def test_what_cannot_be_known_has_a_reason():
    x, times = trials(60)
    few = concordance(x, replace(times, upper=np.full(60, np.inf)))
    assert few.among_all.note == TOO_FEW
    assert concordance(np.ones(60), times).among_all.note == module.ALL_EQUAL
    nobody = np.zeros(60)
    assert concordance(x, replace(times, weight=nobody)).among_all.note == TOO_FEW


def test_where_all_pairs_agree_the_interval_is_of_pairs_that_have_no_configuration_in_common():
    x, times = trials(60, 2)
    times = replace(times, weight=np.ones(60))
    ordered = concordance(-times.lower, times)
    assert (ordered.among_all.value, ordered.among_all.upper) == (1.0, 1.0)
    assert ordered.among_all.lower == pytest.approx(wilson(1.0, 15)[0])  # of 30 configurations
    pairs = [(2 * c, 2 * c + 1) for c in range(30)] + [(2 * c + 1, 2 * c) for c in range(30)]
    known = sum(times.upper[one] <= times.lower[other] for one, other in pairs)
    assert (ordered.within.value, ordered.within.lower) == (1.0, pytest.approx(wilson(1.0, known)[0]))
    backwards = concordance(times.lower, times).among_all
    assert (backwards.value, backwards.lower) == (0.0, 0.0)
    assert backwards.upper == pytest.approx(1 - ordered.among_all.lower)
    # All but one configuration: without it all agree.
    almost = -times.lower
    almost[times.codes == 3] = almost.min() - 1
    one = concordance(almost, times).among_all
    assert 0.5 < one.lower < one.value < one.upper


def test_what_is_equal_within_configurations_has_no_interval_there():
    x, times = trials(90, 3)
    found = concordance(np.round(x[times.codes * 3], 1), times)
    assert found.among_all.lower < found.among_all.upper
    assert (found.within.value, found.within.note) == (0.5, UNMOVED)
    assert math.isnan(found.within.lower)


def test_few_that_weigh_much_leave_the_error_unsure():
    x, times = trials(120)
    weight = np.where(np.arange(120) % 20 == 0, 20.0, 1.0)
    one = concordance(x, replace(times, weight=weight)).among_all
    d, z = 2 * one.value - 1, one.standard_error * 2 / (1 - (2 * one.value - 1) ** 2)
    size = weight.sum() ** 2 / (weight**2).sum()
    assert 5 < size < 25
    assert np.arctanh(2 * one.upper - 1) - np.arctanh(d) == pytest.approx(student_quantile(size - 1) * z, rel=1e-9)


def test_equal_numbers_are_a_coins_toss_and_larger_ones_go_first():
    x, times = trials(200)
    assert concordance(x, times).among_all.value == pytest.approx(1 - concordance(-x, times).among_all.value)
    assert concordance(np.sign(x - np.median(x)), times).among_all.value > 0.55


# -- landmarks


def test_steps_are_parts_of_the_horizon_at_which_all_are_measured():
    table = pa.table({"eval_interval": [100, 250, 100]})
    assert steps_of(table, 20_000) == [500, 1_000, 2_500, 5_000, 10_000]
    assert steps_of(table, 1_000) == [500]
    assert steps_of(table, 900) == [250]  # both never are by half of it
    assert steps_of(table, 400) == []


def test_nobody_looks_beyond_the_horizon():
    times = until(Times.of([0, 90, 150, 80], [10, 110, np.inf, np.inf], stop=[5, np.inf, 60, np.inf]), 100)
    assert times.lower.tolist() == [0, 90, 100, 80]
    assert times.upper.tolist() == [10, np.inf, np.inf, np.inf]
    assert times.stop.tolist() == [5, np.inf, 60, np.inf]


@pytest.fixture
def sweeps(sweep_path):
    return load_sweeps(sweep_path)


def test_a_landmark_has_what_was_measured_there_of_those_that_may_still_grok(sweeps):
    times = times_of(sweeps.trials)
    steps = [500, 1_550]
    curves = sweeps.curves().to_pandas().set_index(["trial_index", "step"])
    frame = sweeps.trials.to_pandas()
    for mark in landmarks(sweeps, times, steps):
        assert "wall_time_s" not in mark.values
        interval = int(frame["eval_interval"].iloc[0])
        at = mark.step // interval * interval
        for row in range(0, len(frame), 7):
            known = (frame["trial_index"][row], at) in curves.index
            value = curves.loc[(frame["trial_index"][row], at), "heldout_loss"] if known else np.nan
            np.testing.assert_equal(mark.values["heldout_loss"][row], value)
        late = (frame["grok_step"].isna() | (frame["grok_step"] > mark.step)).to_numpy()
        watched = (frame["duration_steps"] >= mark.step).to_numpy() | frame["outcome"].eq("diverged").to_numpy()
        assert (mark.at_risk == (late & watched)).mean() > 0.99


# -- the finding


def test_the_table_has_each_measure_at_each_step_by_its_better_direction(sweep_path):
    analysis = grokray.load(sweep_path)
    found = analysis.predictors()
    assert found.missing is None
    table = found.table
    assert {"heldout_loss", "train_loss", "heldout_exact_match"} <= set(table["measure"])
    assert "wall_time_s" not in set(table["measure"])
    known = table.dropna(subset=["concordance"])
    assert len(known)
    assert (known["concordance"] >= 0.5).all()
    assert set(known["first_groks"]) <= {"who has more", "who has less"}
    for row in known.to_dict("records"):
        one = found.estimates[row["step"], row["measure"]].among_all
        less = row["first_groks"] == "who has less"
        assert row["concordance"] == (1 - one.value if less else one.value)
        np.testing.assert_equal(row["concordance_lower"], 1 - one.upper if less else one.lower)
    for _, part in table.groupby("step"):
        assert part["concordance"].fillna(0).is_monotonic_decreasing
    assert found.summary.startswith(f"Of what is measured at step {known['step'].iloc[0]:,}, ")
    assert analysis.predictors() is found


def test_it_is_of_trials_that_had_not_grokked_and_up_to_the_smallest_budget(sweep_path):
    analysis = grokray.load(sweep_path)
    step, budget = 2_000, analysis.trials["num_steps"].min()
    trials, times = analysis.trials, analysis.times()
    values = analysis.curves.query("step == @step").set_index("trial_id")["heldout_loss"]
    late = (times["upper"] > step) & (times["lower"] >= step) & (times["weight"] > 0)
    known = trials[late & trials["trial_id"].map(values).notna()].index
    times = times.loc[known].assign(upper=lambda t: t["upper"].where(t["upper"] <= budget, np.inf))
    own = Times.of(times["lower"], times["upper"], weight=times["weight"], cluster=trials.loc[known, "configuration"])
    x = trials.loc[known, "trial_id"].map(values).to_numpy()
    found = analysis.predictors(at=step).estimates[step, "heldout_loss"]
    assert found.trials == len(known)
    assert found.among_all.value == pytest.approx(by_definition(x, own), rel=1e-9)
    assert found.within.value == pytest.approx(by_definition(x, own, within=True), rel=1e-9)


@pytest.mark.parametrize("at", [0, [], [500, 0], 10**9, "500", [500.5], True])
def test_steps_that_are_none_are_refused(at, sweep_path):
    with pytest.raises(ConfigError, match="at is .*, but must be a step, or a list of steps, each from 1 to below"):
        grokray.load(sweep_path).predictors(at)


def test_of_very_many_trials_some_are_drawn_whole_configurations_each(sweep_path, monkeypatch):
    monkeypatch.setattr(finding, "MOST_TRIALS", 60)
    analysis = grokray.load(sweep_path)
    found = analysis.predictors()
    assert any("were drawn" in note for note in found.notes)
    assert found.table["trials"].max() < 120
    times = times_of(analysis.sweeps.trials)
    drawn, counted = finding._sampled(times)[0].weight > 0, times.weight > 0
    by_configuration = pd.Series(drawn[counted]).groupby(times.cluster[counted]).nunique()
    assert (by_configuration == 1).all()


def test_where_nothing_can_be_told_the_reason_stands(sweep_path):
    analysis = grokray.load(sweep_path)
    never = analysis.where(analysis.trials["grok_step"].isna())
    assert never.predictors().missing == "no trial has grokked"
    few = analysis.where(analysis.trials["trial_index"] < 12).predictors(at=500)
    assert few.table["concordance"].isna().all()
    assert set(few.table["reason"]) == {TOO_FEW}
    assert few.summary == ""
    assert FEWEST == 10


def test_a_measure_of_ones_own_is_among_them_and_one_that_some_sweeps_lack(sweep_path, tmp_path):
    from synthetic import make_sweep

    other = tmp_path / "other"
    make_sweep(other, 60, seed=2)
    for file in (other / "curves").glob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.append_column("mine", pa.array(np.arange(table.num_rows) % 97 * 1.0)), file)
    both = grokray.load([sweep_path, other])
    found = both.predictors(at=500)
    assert "mine" in set(found.table["measure"])
    rows = found.table.set_index("measure")["trials"]
    assert rows["mine"] < rows["train_loss"]
    assert [note for note in found.notes if note.startswith("mine was no number in some trials")]
    assert not [note for note in grokray.load(other).predictors(at=500).notes if "no number in" in note]


def test_it_is_said_where_trials_were_measured_before_the_step(sweep_path, tmp_path):
    from synthetic import make_sweep

    make_sweep(tmp_path / "other", 60, seed=2, interval=250)
    analysis = grokray.load([sweep_path, tmp_path / "other"])
    said = [note for note in analysis.predictors(at=[1_250, 1_500]).notes if "is measured at" in note]
    assert said == [
        "not each of the trials is measured at step 1,250: the last measurement before counts, at 1,200 at the earliest"
    ]
    assert not [note for note in analysis.predictors().notes if "is measured at" in note]
    alone = grokray.load(sweep_path)
    assert "none of the trials is measured at step 150: " in " ".join(alone.predictors(at=150).notes)
    assert not [note for note in alone.predictors().notes if "budget" in note]
    assert alone.predictors(at=50).missing == "no trial was measured by step 50"


def test_running_and_pruned_trials_are_told_of_as_they_count_here(tmp_path):
    from synthetic import make_sweep

    make_sweep(tmp_path / "running", 150, seed=2, scheduler="fifo", running=60)
    notes = " ".join(grokray.load(tmp_path / "running").predictors().notes)
    assert "60 trials have not ended: of two that grok late it is not known yet who is first" in notes
    assert "left out" not in notes
    table = pq.read_table(tmp_path / "running" / "trials.parquet")
    budgets = np.where(np.arange(150) < 5, 8_000, 20_000)
    outcome = pa.array([v or "failed" for v in table["outcome"].to_pylist()], pa.string())
    for name, values in (("num_steps", pa.array(budgets, table["num_steps"].type)), ("outcome", outcome)):
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, tmp_path / "running" / "trials.parquet")
    notes = " ".join(grokray.load(tmp_path / "running").predictors().notes)
    assert "60 trials failed, or were stopped: they count up to where observation ended" in notes
    assert "times count up to step 8,000, no further than the smallest budget" in notes
    make_sweep(tmp_path / "unaudited", 150, seed=2, scheduler="unaudited")
    assert finding.PRUNED in grokray.load(tmp_path / "unaudited").predictors().notes


def test_where_chance_audited_none_of_those_that_a_measure_has_there_is_no_number(sweep_path):
    sweeps = load_sweeps(sweep_path)
    times, whole = times_of(sweeps.trials), outcomes(sweeps.trials)
    [mark] = landmarks(sweeps, times, [500])
    values = np.where(whole.is_audited, np.nan, mark.values["heldout_loss"])
    one = finding._of(replace(mark, values={"mine": values}), "mine", times, whole, 0.95)
    assert one is not None
    assert (one.among_all.note, one.within.note) == (NOBODY, NOBODY)


def test_token_accuracy_that_is_exact_match_stands_once():
    exact = np.array([0.5, np.nan, 1.0])
    values = {"train_token_accuracy": exact.copy(), "train_exact_match": exact, "heldout_token_accuracy": exact + 1}
    more = {"heldout_exact_match": exact, "mine_token_accuracy": exact, "loss": exact}
    mark = Landmark(step=1, at_risk=np.ones(3, bool), measured=np.ones(3), values={**values, **more})
    assert finding._apart(mark) == ["train_exact_match", "heldout_token_accuracy", *more]


def test_the_figure_shows_the_foremost_measures(sweep_path):
    analysis = grokray.load(sweep_path)
    axes = analysis.plot_predictors()
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == foremost_measures(analysis.predictors().estimates)
    assert 2 <= len(names) <= MOST_MEASURES
    reach = {}
    for (_, name), one in analysis.predictors().estimates.items():
        if not math.isnan(one.among_all.value):
            reach[name] = max(reach.get(name, 0), abs(one.among_all.value - 0.5))
    assert names[0] == max(reach, key=lambda name: reach[name])
    known = {step for (step, _), one in analysis.predictors().estimates.items() if not math.isnan(one.among_all.value)}
    assert axes.get_xlim() == (500, 20_000)
    assert (min(known), max(known)) == (600, 10_000)
    assert analysis.plot_predictors(at=500).get_xlim() == (200, 1_000)
    never = analysis.where(analysis.trials["grok_step"].isna()).plot_predictors()
    assert "no trial has grokked" in never.texts[0].get_text().replace("\n", " ")
