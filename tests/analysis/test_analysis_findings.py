"""Findings: against the truth of synthetic sweeps, and on sweeps that hold nothing to find."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import norm
from synthetic import make_sweep

import grokray
from grokray.analysis.analysis import FINDINGS
from grokray.analysis.comparison import Comparison
from grokray.analysis.effects import BOUNDLESS, effect_of
from grokray.analysis.findings.comparison import _summary as comparison_summary
from grokray.analysis.findings.comparison import comparison, delay
from grokray.analysis.findings.critical import critical_fraction
from grokray.analysis.findings.effects import _few_events as few_events
from grokray.analysis.findings.effects import _summary as effects_summary
from grokray.analysis.findings.effects import effects
from grokray.analysis.findings.finding import Finding
from grokray.analysis.findings.groups import groups_by, main_parameters
from grokray.analysis.findings.phases import _summary as phases_summary
from grokray.analysis.findings.phases import diagram_of, events_again, phases
from grokray.analysis.findings.quality import quality
from grokray.analysis.findings.robustness import UNKNOWN_SEEDS
from grokray.analysis.findings.robustness import _in_order as in_order
from grokray.analysis.findings.survival import LEARNED, survival
from grokray.analysis.findings.typical import typical_trials
from grokray.analysis.findings.words import number, shown
from grokray.analysis.logrank import holm
from grokray.analysis.outcomes import outcomes
from grokray.analysis.phases import events_of_curves
from grokray.analysis.report.page import render
from grokray.analysis.robustness import robustness
from grokray.analysis.shares import Estimate
from grokray.analysis.space import Axis, Space
from grokray.analysis.sweeps import Sweeps
from grokray.analysis.wording import value_text
from grokray.cli.analyze import FURTHER
from grokray.errors import ConfigError
from grokray.events import PHASES
from grokray.records.collect import collect, write_tables
from grokray.records.folder import SweepFolder
from grokray.records.schema import CURVES_SCHEMA
from grokray.records.tables import read_curves, read_trials
from grokray.trial import TrialConfig
from tests.analysis.tables import grokking, trials_of


@pytest.fixture(scope="module")
def analysis(sweep_path):
    return grokray.load(sweep_path)


def test_pruned_sweeps_with_audits_agree_with_the_truth(tmp_path):
    """The same trials, run to their end and pruned: what the audit arm says holds the truth."""
    for name in ("fifo", "grok_asha", "unaudited"):
        make_sweep(tmp_path / name, 900, seed=11, scheduler=name, curves=False)
    truth, audited, blind = (grokray.load(tmp_path / name) for name in ("fifo", "grok_asha", "unaudited"))
    true_share = truth.survival().table["share"][0]
    seen, unaware = audited.survival().table.iloc[0], blind.survival().table.iloc[0]
    assert seen["share_lower"] < true_share < seen["share_upper"]
    assert unaware["share_lower"] > true_share
    rate = audited.audit().table.iloc[0]
    stops = read_trials(truth.sweeps.folders[0])["event_observed"].to_numpy()
    pruned = np.array(audited.trials["stop_step"].notna())
    assert rate["share_lower"] < stops[pruned].mean() < rate["share_upper"]
    assert any("none that the scheduler wanted to stop ran on" in note for note in blind.survival().notes)
    assert "if no pruned trial would have grokked" in blind.robustness().summary


def test_summaries_say_the_main_number_of_each_table(tmp_path):
    make_sweep(tmp_path / "s", 600, seed=3, scheduler="grok_asha", curves=False)
    analysis = grokray.load(tmp_path / "s")

    def said(finding: Finding, name: str, row: int) -> str:
        texts = shown(finding.table)
        return texts.rows[row][texts.headings.index(name)]

    audit, delay, phases, variance = analysis.audit(), analysis.delay(), analysis.phases(), analysis.variance()
    assert said(audit, "share", 1) in audit.summary
    reached = delay.table["delay"][np.isfinite(delay.table["delay"])]
    assert f"grok within {said(delay, 'delay', len(reached) - 1)} more steps" in delay.summary
    commonest = int(phases.table["share"].argmax())
    assert phases.summary.endswith(f"{phases.table['phase'][commonest]}: {said(phases, 'share', commonest)} of trials.")
    assert variance.summary.startswith(f"Hyper-parameters decide {said(variance, 'variance share', 0)} of the variance")


def test_a_note_on_one_trial_speaks_of_one():
    audited = [False, False, True, False, False, False, False]
    trials = trials_of(
        7,
        outcome=["grokked", "pruned", "budget", "diverged", "stopped", None, "budget"],
        grok_step=[900, *[None] * 6],
        num_steps=[20_000] * 6 + [10_000],
        audited=audited,
        audit_probability=[None, 0.5, 0.5, *[None] * 4],
        stop_step=[None, 500, 500, *[None] * 4],
    )
    assert survival(trials).notes == (
        "1 pruned trial counts nothing: 1 audited one stands for it",
        "1 diverged: it counts as not grokked to the end of its budget, not to where it diverged",
        "where the ends of a mean are ?, one configuration or none grokked by the horizon, or all at one step",
    )
    warnings = " ".join(quality(trials).table["warning"])
    assert "only 1 audited trial came to its end, and it stands for 1 pruned trial: intervals" in warnings
    assert "1 of 7 trials is another with another num_steps, and trains like it" in warnings
    assert "1 of 7 trials was stopped by hand 1 of 7 trials has not ended, and" in warnings


def test_effects_of_one_event_speak_of_one():
    (few,) = few_events(1, 1)
    assert few == (
        "only 1 trial grokked, for 1 effect: with fewer than 10 for each neither intervals nor p can be relied on"
    )


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (1, "too few: 8 trials, but 10 are needed"),
        (
            2,
            "it can be estimated for none of 2 groups; task_type sequence: too few: 5 trials, but 10 are needed; "
            "task_type classification: too few: 3 trials, but 10 are needed",
        ),
    ],
)
def test_why_there_is_no_critical_fraction_names_the_group(groups, reason):
    kinds = ["classification"] * 3 + ["sequence"] * 5 if groups == 2 else "sequence"
    trials = trials_of(8, training_fraction=np.linspace(0.2, 0.8, 8), task_type=kinds)
    assert critical_fraction(trials).missing == reason


def test_a_summary_names_no_critical_fraction_of_which_nothing_is_sure():
    fraction = np.tile(np.linspace(0.2, 0.8, 12), 2)
    happened = np.concatenate([np.isin(np.arange(12), [1, 2, 5, 8, 9, 11]), fraction[:12] > 0.5])
    base = np.repeat([2, 10], 12)
    found = critical_fraction(trials_of(24, base=base, training_fraction=fraction, grok_step=grokking(happened)))
    assert found.table["fraction"].notna().all()
    assert (found.table["fraction_lower"][0], found.table["fraction_upper"][0]) == (0, 1)
    assert found.summary.startswith(
        "Half of the trials grok at a training fraction of 0.5 (0.364 to 0.636) for base 10"
    )


def test_effects_are_those_that_the_sweep_was_made_with(tmp_path):
    make_sweep(tmp_path / "s", 1_500, seed=2, scheduler="fifo", curves=False)
    table = grokray.load(tmp_path / "s").effects().tables["if_all_grok"].set_index("effect_of")
    for label, truth in (("a doubling of weight_decay", np.exp(-0.55)), ("training_fraction + 0.1", np.exp(-0.7))):
        row = table.loc[label]
        assert row["time_ratio_if_all_grok"] == pytest.approx(truth, rel=0.15)
        assert row["time_ratio_if_all_grok_upper"] - row["time_ratio_if_all_grok_lower"] < 0.2


def test_effects_of_few_events_are_said_to_be_unreliable(tmp_path):
    for count in (30, 900):
        make_sweep(tmp_path / str(count), count, seed=2, scheduler="fifo", curves=False)
    few, many = (grokray.load(tmp_path / name).effects() for name in ("30", "900"))
    events, size = few.estimates.aft.events, len(few.estimates.aft.names)
    assert 0 < events < 10 * size
    assert f"only {events} trials grokked, for {size} effects: with fewer than 10 for each" in " ".join(few.notes)
    assert "can be relied on" not in " ".join(many.notes)


def test_survival_by_a_column_compares_its_groups(analysis):
    found = analysis.survival(by="base")
    assert found.tables["groups"]["value"].tolist() == ["2", "10", "64", "no base"]
    assert len(found.tables["pairs"]) == 3  # of base 10 trials were pruned, and none was audited
    assert found.tables["tests"]["note"].tolist() == ["of one group trials were pruned, and none of it was audited"]
    assert found.tables["groups"]["trials"].sum() == 300
    quarters = analysis.survival(by="weight_decay").tables["groups"]
    assert len(quarters) == 4
    assert quarters["trials"].min() > 60
    assert "pairs" in analysis.survival(by="weight_decay").tables


def test_groups_of_several_columns_are_what_there_is_of_them_together(analysis):
    trials, by = analysis.trials, ["task_type", "weight_decay"]
    groups = analysis.survival(by=by).tables["groups"]
    quarters = [label.removesuffix(" (2)") for label in groups_by(analysis.sweeps.trials, "weight_decay").labels]
    assert groups["value"].tolist() == [f"{kind}, {one}" for kind in ("classification", "sequence") for one in quarters]
    assert groups["trials"].sum() == len(trials)
    assert groups["trials"][:4].sum() == (trials["task_type"] == "classification").sum()
    of_base = analysis.critical_fraction(by=["modulus", "base"]).table
    assert of_base["modulus"].tolist() == ["97"] * 4
    alone = analysis.critical_fraction(by="base").table
    pd.testing.assert_frame_equal(of_base.drop(columns="modulus"), alone)
    assert len(analysis.plot_survival(by=by).lines) == len(analysis.survival(by=by).estimates.groups[", ".join(by)])
    for wrong, message in (
        (["base", "base"], 'by is ["base", "base"], but must name each column once'),
        (["base", "bass"], "by is bass, but the trials have no such column; the nearest is base"),
        (["dropout", "weight_decay", "training_fraction"], "which make 51 groups, but at most 20 are shown"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            analysis.survival(by=wrong)


def test_what_one_of_several_columns_lacks_is_named():
    trials = trials_of(4, base=[2, None, 10, 10], grok_step=grokking([True] * 4))
    found = groups_by(trials, ["modulus", "base"])
    assert found.labels == ["97, 2", "97, 10", "97, no base"]
    assert found.group.tolist() == [0, 2, 1, 1]


def test_a_parameter_of_too_many_texts_makes_no_groups_and_stops_nothing():
    operations = [f"expr:(x**2 + {number % 21}*x*y) % p" for number in range(63)]
    decays = [1.0 if number < 30 else 0.1 for number in range(63)]
    trials = trials_of(63, operation=operations, weight_decay=decays, grok_step=grokking([True] * 40 + [False] * 23))
    found = survival(trials)
    assert set(found.tables["groups"]["parameter"]) == {"weight_decay"}
    assert "no groups by operation: it has 21 different texts, but at most 20 are groups" in found.notes
    with pytest.raises(ConfigError, match="by is operation, which has 21 different texts"):
        survival(trials, by="operation")


def test_each_group_has_a_curve_of_its_own_however_near_their_values_are():
    rng = np.random.default_rng(0)
    trials = trials_of(80, beta2=rng.uniform(0.999, 0.9999, 80), grok_step=grokking(rng.random(80) < 0.6))
    found = survival(trials, "beta2")
    labels = found.tables["groups"]["value"].tolist()
    assert len(set(labels)) == len(labels) == 4
    assert list(found.estimates.groups["beta2"]) == labels
    assert float(labels[-1].split(" to ")[1]) <= 0.9999
    near = trials_of(40, beta2=np.tile([0.12345671, 0.12345672], 20), grok_step=grokking(rng.random(40) < 0.6))
    assert len(survival(near, "beta2").estimates.groups["beta2"]) == 2


def test_phases_can_be_read_off_the_curves_anew(analysis):
    found = events_again(analysis.sweeps, threshold=0.99, sustain=3)
    curves = read_curves(analysis.sweeps.folders[0])
    names = ("trial_index", "step", "train_exact_match", "heldout_exact_match")
    slow = events_of_curves(*(curves[name].to_numpy() for name in names))
    assert np.array_equal(found.grok_step, slow.grok_step, equal_nan=True)
    easier = analysis.phases(phase_accuracy=0.3).table.set_index("phase")["trials"]
    own = analysis.phases().table.set_index("phase")["trials"]
    assert easier["confusion"] < own["confusion"]
    assert own.sum() == 300


def test_trials_in_the_phase_of_grokking_that_did_not_grok_are_counted(tmp_path):
    trials = trials_of(3, phase=["grokking", "comprehension", "grokking"], grok_step=[1000, None, None])
    (note,) = phases(Sweeps(folders=(), names=("one",), trials=trials)).notes
    assert note.startswith(
        "2 trials of comprehension or grokking are not counted as grokked: a phase asks for 0.9 once"
    )


def test_what_is_said_of_several_comparisons_alike_stands_once():
    trials = trials_of(30, base=[2, 4, 10] * 10, task_type="sequence", configuration=list(range(30)))
    said = comparison(trials).notes
    assert sum(note.startswith("base 4, base 10 against base 2: ") for note in said) == 2
    assert not [note for note in said if note.startswith(("base 4 against", "base 10 against"))]


def test_a_finding_shows_itself_as_the_terminal_does(analysis):
    text = repr(analysis.phases())
    assert text == str(analysis.phases())
    assert "share_lower" not in text


def test_phase_diagrams_count_trials_as_their_shares_do(analysis):
    found = diagram_of(analysis.sweeps.trials, "weight_decay", "training_fraction")
    trials = analysis.trials
    stopped = trials["stop_step"].notna()
    weight = np.where(trials["audited"], 1 / trials["audit_probability"].fillna(1), np.where(stopped, 0, 1))
    told = ~found.unknown[found.y.bin, found.x.bin]
    assert 0 < told.sum() < 300
    assert found.counts.sum() == pytest.approx(weight[told].sum())
    assert found.counts.shape[:2] == (len(found.y), len(found.x))
    full = found.used >= 5
    grokking = np.isin(found.commonest, ("grokking", "comprehension"))
    assert (found.share[full & grokking] > 0.2).all()


def test_a_typical_trial_is_the_one_in_the_middle(analysis):
    found = {one.phase: one for one in typical_trials(analysis.sweeps)}
    assert set(found) >= {"memorization", "grokking"}
    one = found["grokking"]
    trials = analysis.trials
    delays = trials[(trials["phase"] == "grokking") & (trials["grok_delay"].notna())]
    kept = delays[delays["stop_step"].isna() | delays["audited"]]["grok_delay"]
    assert one.among == len(kept)
    assert abs((kept < one.value).sum() - (kept > one.value).sum()) <= (kept == one.value).sum()
    assert one.curve.steps[-1] == one.curve.row["grok_step"] + 200


def test_a_phase_whose_trials_have_no_delay_has_a_typical_one(analysis):
    """Trials that never had the accuracy that they call grokked are in the phase by 0.9."""
    trials = analysis.sweeps.trials
    place = trials.column_names.index("grok_delay")
    without = trials.set_column(place, "grok_delay", pa.nulls(trials.num_rows, trials["grok_delay"].type))
    one = next(one for one in typical_trials(replace(analysis.sweeps, trials=without)) if one.phase == "grokking")
    assert (one.by, one.value) == ("final_heldout_exact_match", one.curve.row["final_heldout_exact_match"])


def test_a_sentence_has_none_and_all_as_its_table_has_them():
    none = trials_of(20, configuration=list(range(20)))
    assert survival(none).summary.startswith("0 % of trials grok within 20,000 steps (0 to ")


def test_analyze_knows_the_names_of_all_tables(analysis):
    found = [*analysis.findings(), analysis.survival("phase"), analysis.critical_fraction("base")]
    names = {(one.name, name) for one in found for name in list(one.tables)[1:]}
    assert len(names) > 6
    assert names <= {(finding, name) for finding, further in FURTHER.items() for name in further}


def test_choices_that_are_numbers_are_profiled_by_their_size():
    assert [label for _, label in in_order(["1", "0.1", "10"])] == ["0.1", "1", "10"]
    assert [number for number, _ in in_order(["1", "0.1", "10"])] == [1, 0, 2]
    for labels in (["pre", "post"], ["2", "none"], ["0.5 to 1", "1 to 2"]):
        assert [label for _, label in in_order(labels)] == labels


def test_main_parameters_come_without_what_follows_from_them(analysis):
    names = main_parameters(analysis.sweeps.trials)
    assert names[:3] == ["weight_decay", "dropout", "training_fraction"]
    assert "digit_order" not in names
    assert groups_by(analysis.sweeps.trials, "audited").labels == ["false", "true"]


def test_findings_are_texts_for_a_terminal_and_for_a_notebook(analysis):
    found = analysis.robustness()
    assert "Grokking happens within the budget in" in str(found)
    page = found._repr_html_()
    assert page.count("<table") == len(found.tables)
    assert re.search(r"<td>\d+\.\d % \(\d+\.\d to \d+\.\d %\)</td>", page)
    assert "share_lower" not in page
    reason = "the share grokked does not rise with the fraction" + ", and so on" * 5
    assert reason in Finding(name="a", title="A", tables={"a": pd.DataFrame({"note": [reason]})})._repr_html_()
    assert analysis.trials.shape[0] == 300
    assert set(analysis.curves_of(analysis.trials["trial_id"][:2], ["heldout_loss"])["trial_id"]) == set(
        analysis.trials["trial_id"][:2]
    )


def test_numbers_as_texts():
    assert number(0.4567, "percent") == "45.7 %"
    assert [number(x, "percent") for x in (0.0, 1.0, 0.9999, 1e-9)] == ["0 %", "100 %", "99.9 %", "0.1 %"]
    assert number(float("inf"), "steps") == "∞"
    assert number(float("nan"), "steps") == "–"
    assert number(-0.158, "points") == "−15.8"
    ratios = (99.99, 99.999, 123.4, 14_321.0, 0.0123, 2e-7, 3e12)
    assert [number(x, "ratio") for x in ratios] == ["99.99", "100", "120", "14,000", "0.012", "2e−07", "3e+12"]
    assert [number(x, "") for x in (1_234.5, -98_765.4, 12.345, 5e-5)] == ["1,230", "−98,800", "12.3", "5e−05"]
    table = shown(_frame(share=[0.5], share_lower=[0.25], share_upper=[float("nan")], trials=[1200]))
    assert table.rows == [["50.0 % (25.0 % to ?)", "1,200"]]
    assert (table.headings, table.essential) == (["share", "trials"], 1)


def _frame(**columns):
    import pandas as pd

    return pd.DataFrame(columns)


# What a sweep may hold too little of; each makes a folder of such trials.
def _one_trial(table):
    return table.slice(0, 1)


def _none_grokked(table):
    return table.filter(pa.compute.invert(table["event_observed"]))


def _all_grokked(table):
    return table.filter(table["event_observed"])


def _waiting(table):
    nulls = {name: pa.nulls(table.num_rows, table.schema.field(name).type) for name in ("outcome", "phase")}
    for name in ("memorization_step", "memorization_step_lower", "grok_step", "grok_step_lower", "grok_delay"):
        nulls[name] = pa.nulls(table.num_rows, pa.int64())
    fixed = {"duration_steps": 0, "event_observed": False, "censor_reason": "running", "state": "waiting"}
    fixed |= {"audited": False}
    return _with(table, **nulls, stop_step=pa.nulls(table.num_rows, pa.int64()), **fixed)


def _no_variation(table):
    return _with(
        table,
        weight_decay=1.0,
        dropout=0.0,
        training_fraction=0.5,
        task_type="classification",
        base=None,
        digit_order=None,
    )


def _with(table, **values):
    for name, value in values.items():
        kind = table.schema.field(name).type
        column = value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, kind), table.num_rows)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


@pytest.mark.parametrize("only", [_one_trial, _none_grokked, _all_grokked, _waiting, _no_variation])
@pytest.mark.parametrize("scheduler", ["grok_asha", "unaudited", "fifo"])
def test_every_finding_computes_or_says_why_not(only, scheduler, tmp_path):
    folder = make_sweep(tmp_path / "s", 60, scheduler=scheduler, curves=False)
    write_tables(folder, only(read_trials(folder)), [CURVES_SCHEMA.empty_table()])
    a = grokray.load(tmp_path / "s")
    for name in FINDINGS:
        found = getattr(a, name)()
        assert bool(found.tables) != bool(found.missing), name
        assert found.missing is None or "\n" not in found.missing
    if only in (_one_trial, _none_grokked, _waiting):
        assert a.quality().missing is None
    if only is _waiting:
        assert (a.robustness().missing, a.survival().missing) == (
            "no trial has been watched to its end",
            "no trial was measured yet",
        )
    page = render(a)
    assert page.count("<section") == len(FINDINGS) + 2  # the gallery, and how to repeat it


def test_phases_that_are_as_common_are_both_the_commonest():
    rows = [
        {"phase": p, "share": s, "share_lower": 0.2, "share_upper": 0.6}
        for p, s in (("a", 0.4), ("b", 0.2), ("c", 0.4))
    ]
    assert (
        phases_summary(rows) == "The commonest phases at the end are a and c: 40.0 % (20.0 to 60.0 %) of trials each."
    )
    assert phases_summary(rows[:2]) == "The commonest phase at the end is a: 40.0 % (20.0 to 60.0 %) of trials."


def test_groups_of_pruned_trials_without_an_audited_one_have_no_share():
    outcome = ["grokked"] * 8 + ["pruned"] * 7 + ["budget"] * 5
    trials = trials_of(
        20,
        dropout=[0.1] * 15 + [0.2] * 5,
        outcome=outcome,
        grok_step=[1000] * 8 + [None] * 12,
        audited=[False] * 15 + [True] * 5,
        audit_probability=[0.5] * 20,
        stop_step=[None] * 15 + [500] * 5,
    )
    found = survival(trials)
    groups = found.tables["groups"].set_index("value")
    assert np.isnan(groups.loc["0.1", ["share", "median", "mean_steps"]].astype(float)).all()
    assert groups.loc["0.2", "share"] == 0
    note, *_ = found.notes
    assert note.startswith(
        "7 pruned trials count nothing: 5 audited ones stand for them, and no share is known of groups"
    )
    axis = Axis(name="dropout", values=(0.1, 0.2), probabilities=(0.5, 0.5))
    (profile,) = robustness(trials, Space(axes=(axis,), method="random")).profiles
    assert np.isnan(profile.share).tolist() == [True, False]


def test_the_surest_effect_of_many_must_be_surer_than_one_alone():
    idle = [effect_of(f"idle {number}", "a doubling", 0.05, 0.1, level=0.95) for number in range(5)]
    lucky, sure = (effect_of(name, name, 0.5, 0.5 / z, level=0.95) for name, z in (("lucky", 2.2), ("sure", 3.5)))
    assert lucky.p_value < 0.05
    assert effects_summary("it", idle, 0.95) == "No effect on it can be told from none."
    so_many = "No effect on it can be told from none, as 6 are tested (Holm's correction)."  # one interval leaves 1 out
    assert effects_summary("it", [*idle, lucky], 0.95) == so_many
    said = effects_summary("it", [lucky], 0.95)
    assert said.startswith("The surest effect on it: lucky lengthens the time to 1.65 times what it was (")
    assert effects_summary("it", [*idle, lucky, sure], 0.95).startswith("The surest effect on it: sure")


def compared(b: str, value: float, p: float) -> Comparison:
    half = abs(value) * 1.96 / norm.isf(p / 2)
    difference = Estimate(value=value, lower=value - half, upper=value + half, method="")
    return Comparison(a="base 2", b=b, method="matched", difference=difference, p_value=p, notes=())


def test_the_largest_difference_of_many_must_be_surer_than_one_alone():
    idle = [compared(f"base {base}", 0.01, 0.8) for base in (5, 10, 20, 40)]
    lucky, sure = compared("base 64", 0.2, 0.03), compared("base 50", -0.1, 0.004)

    def said(*found: Comparison) -> str:
        return comparison_summary([*found], holm(np.array([one.p_value for one in found])), 0.95)

    assert said(*idle, lucky) == "No difference in the share grokked can be told from none."
    assert said(lucky).startswith("base 64 groks more often than base 2, by 20.0 points")
    assert said(*idle, lucky, sure).startswith("base 50 groks less often than base 2, by 10.0 points")


def test_a_comparison_of_bases_shows_p_corrected_for_their_number():
    rng = np.random.default_rng(1)
    columns = dict(task_type="sequence", dropout=np.tile(np.arange(20) / 100, 3))
    table = comparison(
        trials_of(60, base=np.repeat([2, 10, 64], 20), grok_step=grokking(rng.random(60) < 0.5), **columns)
    ).table
    assert table["adjusted_p"].tolist() == holm(table["p_value"].to_numpy()).tolist()
    assert (table["adjusted_p"] >= table["p_value"]).all()


def test_a_mean_without_ends_says_why():
    never = survival(trials_of(12, duration_steps=5_000, num_steps=5_000))
    row = never.table.iloc[0]
    assert (row["mean_steps"], np.isnan(row["mean_steps_lower"])) == (5_000, True)
    assert (
        "where the ends of a mean are ?, one configuration or none grokked by the horizon, or all at one step"
        in never.notes
    )


def test_how_seeds_agree_is_not_known_where_seeds_were_pruned(analysis, tmp_path):
    thinned = analysis.robustness()
    assert "seeds" not in thinned.tables
    assert UNKNOWN_SEEDS in thinned.notes
    make_sweep(tmp_path / "whole", 60, scheduler="fifo", seeds=3)
    whole = grokray.load(tmp_path / "whole").robustness()
    assert whole.tables["seeds"]["configurations"].sum() == 20
    assert UNKNOWN_SEEDS not in whole.notes


def test_nothing_is_said_of_what_pruned_trials_without_an_audited_one_would_tell():
    """Of the first half those that were slow were pruned, and chance audited none of them."""
    step = np.random.default_rng(0).integers(10, 90, 80) * 100
    slow, audited = step > 5000, np.repeat([False, True], 40)
    fate = np.where(slow & ~audited, "pruned", "grokked")
    columns = dict(
        dropout=np.tile(np.arange(40) / 100, 2),
        grok_step=[None if end == "pruned" else int(at) for end, at in zip(fate, step, strict=True)],
        grok_step_lower=[None if end == "pruned" else int(at) - 100 for end, at in zip(fate, step, strict=True)],
        duration_steps=np.where(fate == "pruned", 5000, step),
        outcome=fate.tolist(),
        audited=slow & audited,
        audit_probability=np.where(slow, 0.5, np.nan),
        stop_step=[5000 if late else None for late in slow],
    )
    for table in effects(trials_of(80, norm=np.repeat(["none", "layer"], 40), **columns)).tables.values():
        known = table.set_index("effect_of")["reason"] == ""
        assert {name.split()[0]: bool(is_known) for name, is_known in known.items()} == {"norm": False, "dropout": True}
        assert table["p_value"].isna().tolist() == (~known).tolist()
    trials = trials_of(80, base=np.repeat([2, 10], 40), task_type="sequence", **columns)
    against = comparison(trials)
    assert against.missing == "no two representations can be compared yet"
    assert against.notes[0] == "base 10 against base 2: of base 2 trials were pruned, and none was audited"
    trials = trials.set_column(trials.column_names.index("phase"), "phase", [["grokking"] * 80])
    drawn = diagram_of(trials, "base", "norm")
    assert drawn.commonest[0].tolist() == [None, "grokking"]
    assert np.isnan(drawn.share[0]).tolist() == [True, False]


def test_effects_are_those_on_trials_that_train():
    """Trials that diverge at once, whatever their dropout, say nothing of how it changes the time."""
    rng = np.random.default_rng(0)
    dropout = rng.random(120) / 2
    step = np.ceil(np.exp(8 + 2 * dropout + rng.normal(0, 0.4, 120)) / 100) * 100
    columns = {"grok_step": step, "grok_step_lower": step - 100, "duration_steps": step, "num_steps": 20_000}
    training = effects(trials_of(120, dropout=dropout, **columns))
    lost = {"grok_step": [None] * 30, "grok_step_lower": [None] * 30, "duration_steps": [0] * 30}
    columns = {name: [*values, *lost[name]] for name, values in columns.items() if name in lost}
    fate, why = ["grokked"] * 120 + ["diverged"] * 30, [None] * 120 + ["diverged"] * 30
    both = effects(trials_of(150, dropout=[*dropout, *rng.random(30) / 2], outcome=fate, censor_reason=why, **columns))
    for name, table in training.tables.items():
        numbers = [column for column in table if column not in ("effect_of", "p_value")]
        np.testing.assert_allclose(both.tables[name][numbers], table[numbers], rtol=0.001)
    (note,) = (note for note in both.notes if "diverged" in note)
    assert note.startswith("30 trials diverged, and count up to there: effects are those on trials that train")


def test_a_difference_that_is_not_known_is_not_said_to_be_none():
    rng = np.random.default_rng(0)
    columns = dict(base=np.repeat([2, 10], 20), task_type="sequence", dropout=rng.random(40) / 10)
    step = rng.integers(500, 5_000, 40)
    everywhere = trials_of(40, **columns, grok_step=step, grok_step_lower=step - 100)
    assert comparison(everywhere).summary == "No difference in the share grokked is known."
    at_once = comparison(trials_of(40, **columns, grok_step=[1_000] * 40, grok_step_lower=[900] * 40))
    assert at_once.missing == "no two representations can be compared yet"
    # Of base 10 trials were pruned, and none was audited.
    gone, grokked = np.repeat([False, True, False], 20) & (rng.random(60) < 0.5), np.tile(rng.random(20) < 0.5, 3)
    audited = np.arange(60) == 0
    columns = dict(
        task_type="sequence",
        dropout=np.tile(np.arange(20) / 100, 3),
        grok_step=grokking(grokked & ~gone),
        outcome=np.where(gone, "pruned", np.where(grokked, "grokked", "budget")).tolist(),
        audited=audited,
        audit_probability=[1.0] * 60,
    )
    said = "No difference in the share grokked can be told from none"
    found = comparison(trials_of(60, base=np.repeat([2, 10, 64], 20), **columns))
    assert found.summary == f"{said}; 1 of 2 is not known, or without an interval."
    known = trials_of(60, base=np.repeat([2, 10, 64], 20), **columns).filter(pa.array(np.arange(60) // 20 != 1))
    assert comparison(known).summary == f"{said}."


def test_trials_that_were_hardly_watched_do_not_make_a_share_sure():
    """Three grokked, and 97 are at step 1,000."""
    running = [None] * 97
    trials = trials_of(
        100,
        grok_step=[5000, 5100, 5200, *running],
        outcome=["grokked"] * 3 + running,
        duration_steps=[5000, 5100, 5200] + [1000] * 97,
    )
    overall = survival(trials).tables["overall"].iloc[0]
    assert (overall["share"], overall["share_upper"]) == (1, 1)
    assert 0.2 < overall["share_lower"] < 0.5  # of 3


def test_what_speaks_against_independence_is_warned_of():
    trials = trials_of(
        60,
        num_steps=np.repeat([5000, 20_000], 30),
        configuration=np.arange(60),
        init_seed=np.tile(np.arange(30), 2),
        num_layers=np.tile([1, 2], 30),
        dim_model=np.tile([64, 128], 30),
        grok_step=[1000] * 60,
    )
    warnings = " ".join(quality(trials).table["warning"])
    assert "30 of 60 trials are others with another num_steps" in warnings
    assert "num_layers and dim_model always change together" in warnings
    points = np.random.default_rng(0).uniform(0.1, 0.9, (2, 6))
    several = trials_of(18, training_fraction=np.tile(points[0], 3), weight_decay=np.tile(points[1], 3))
    assert "always change together" not in " ".join(quality(several).table["warning"])
    apart = trials_of(60, num_steps=np.repeat([5000, 20_000], 30), init_seed=np.arange(60), grok_step=[1000] * 60)
    assert "num_steps" not in " ".join(quality(apart).table["warning"])


def test_who_is_counted_among_the_delays():
    trials = trials_of(
        5,
        grok_step=[4000, 4000, 300, None, None],
        memorization_step=[500, None, 500, 500, None],
        duration_steps=[4000, 4000, 500, 20_000, 20_000],
    )
    found = delay(trials)
    assert found.notes[:3] == (
        "1 trial grokked after memorizing, 1 has memorized only, 1 neither",
        "1 grokked before it had memorized",
        "1 grokked and never memorized: no delay has it",
    )
    table = found.table.set_index("quantile")["delay"]
    assert np.isnan(table["90 % have grokked"])  # beyond the budget is not never
    assert table["50 % have grokked"] == 3500


def test_a_folder_that_knows_no_search_space_and_trials_of_several_tasks(tmp_path):
    folder = SweepFolder.create_or_open(
        tmp_path / "m", "num_trials: 3\n", {"num_trials": 3}, {"command": "grokray sweep"}
    )
    with folder.writer("driver") as journal:
        for index, fraction in enumerate((0.3, 0.5, 0.7, 0.8)):
            config = TrialConfig(operation="x+y_mod", init_seed=index, training_fraction=fraction)
            fields = {"index": index, "configuration": index, "seed": index, "config": config.model_dump()}
            journal.write("trial", trial_id=config.id, **fields)
            journal.write("start", trial_id=config.id, attempt=0, step=0)
            done = fraction > 0.4
            events = {"sum": {"grok_step": 200, "grok_step_lower": 100}} if done else {}
            journal.write(
                "measurement",
                trial_id=config.id,
                attempt=0,
                step=300,
                metrics={"train_exact_match": 1.0, "heldout_exact_match": 0.2},
                events={"memorization_step": 100, "memorization_step_lower": 0, "train_phase_step": 100},
                tasks={"sum": {"heldout_exact_match": 1.0 * done}, "product": {"heldout_exact_match": 0.2}},
                task_events=events,
            )
            journal.write("finish", trial_id=config.id, attempt=0, step=300, outcome="budget")
    collect(folder)
    a = grokray.load(tmp_path / "m")
    assert [*a.overview().tables["parameters"]] == ["parameter", "seen"]  # nobody knows the space
    table = a.tasks().table.set_index("task")
    assert (table.loc["sum", "grokked"], table.loc["product", "grokked"]) == (3, 0)
    assert table.loc["sum", "share"] == 0.75
    summary = a.tasks().summary
    assert summary.startswith("sum is grokked most often, by 75.0 % (")
    assert "; product least often, by 0 % (" in summary
    assert a.survival().table["grokked"].tolist() == [0]
    for name in FINDINGS:
        found = getattr(a, name)()
        assert bool(found.tables) != bool(found.missing), name
    assert "grokray sweep" in render(a)


def test_no_share_is_known_of_a_task_that_was_pruned_and_not_audited(tmp_path):
    folder = SweepFolder.create_or_open(tmp_path / "m", "num_trials: 40\n", {}, {"command": "grokray sweep"})
    stop = {"step": 300, "rung": 300, "reason": "behind", "audit_probability": 0.1}
    with folder.writer("driver") as journal:
        for index in range(40):
            config = TrialConfig(operation="x+y_mod", init_seed=index)
            fields = {"index": index, "configuration": index, "seed": index, "config": config.model_dump()}
            journal.write("trial", trial_id=config.id, **fields)
            # Of four trials one is to be stopped. All have the first task, the even ones the second.
            if wanted := index % 4 == 0:
                journal.write("decision", trial_id=config.id, action="stop", **stop)
            elif index == 1:
                journal.write("decision", trial_id=config.id, action="audit", **stop)
            tasks = ["first", "second"] if index % 2 == 0 else ["first", "third"]
            journal.write(
                "measurement",
                trial_id=config.id,
                attempt=0,
                step=300 if wanted else 1_000,
                metrics={"train_exact_match": 1.0, "heldout_exact_match": 0.2},
                events={},
                tasks={task: {"heldout_exact_match": 0.2} for task in tasks},
                task_events={} if wanted else {task: {"grok_step": 500, "grok_step_lower": 400} for task in tasks},
            )
            end = {"event": "end", "outcome": "pruned"} if wanted else {"event": "finish", "outcome": "budget"}
            journal.write(**end, trial_id=config.id, step=300 if wanted else 1_000, attempt=0)
    collect(folder)
    found = grokray.load(tmp_path / "m").tasks()
    table = found.table.set_index("task")
    assert table.loc["first", "share"] == 1
    assert np.isnan(table.loc["second", ["share", "share_upper", "median"]].to_numpy(float)).all()
    assert "no share is known of a task of which trials were pruned and none was audited" in found.notes


def test_arc_trials_are_analysed_like_others(tmp_path):
    folder = make_sweep(tmp_path / "s", 60, scheduler="fifo", curves=False)
    table = _with(
        read_trials(folder),
        operation="arc",
        modulus=None,
        task_type="sequence",
        base=None,
        digit_order=None,
        arc_context=1,
    )
    write_tables(folder, table, [CURVES_SCHEMA.empty_table()])
    a = grokray.load(tmp_path / "s")
    for name in FINDINGS:
        found = getattr(a, name)()
        assert bool(found.tables) != bool(found.missing), name


def test_of_trials_that_came_equally_near_the_one_with_the_least_loss_is_named():
    best = {"best_heldout_exact_match": [0.4, 0.6, 0.6, 0.6, None], "best_heldout_loss": [0.1, 2.0, 1.0, None, 0.1]}
    trials = trials_of(5, **best, best_heldout_exact_match_step=[100] * 5)
    assert f"came nearest, {trials['trial_id'][2].as_py()}, had 60" in " ".join(quality(trials).table["warning"])


def test_quality_warns_of_what_speaks_against_the_numbers(tmp_path):
    folder = make_sweep(tmp_path / "s", 90, scheduler="grok_asha", seeds=1, curves=False, running=20)
    text = " ".join(quality(read_trials(folder)).table["warning"])
    for part in ("have not ended", "with fewer than 3 seeds", "audited trials came to their end"):
        assert part in text
    coarse = _with(read_trials(folder), memorization_step=5_000, grok_step=5_000, grok_step_lower=3_000)
    text = " ".join(quality(coarse).table["warning"])
    assert "eval_interval is coarse" in text
    assert "memorized in the same measurement" in text
    assert quality(read_trials(make_sweep(tmp_path / "good", 900, curves=False))).missing is not None


def test_where_none_grokked_the_one_that_came_nearest_is_told():
    best = dict(best_heldout_exact_match=[0.5, None, 0.9], best_heldout_exact_match_step=[100, None, 1_200])
    (said,) = (text for text in quality(trials_of(3, **best)).table["warning"] if "nearest" in text)
    assert said.endswith(f"nearest, {2:016x}, had 90.0 % of its held-out answers right, at step 1,200")
    for others in (dict(best, grok_step=[1_000, None, None]), {}):
        assert "nearest" not in " ".join(quality(trials_of(3, **others)).table["warning"])


def test_all_phases_have_a_name_in_the_table(analysis):
    assert analysis.phases().table["phase"].tolist() == list(PHASES)


def test_a_part_of_the_trials_is_analysed_as_a_sweep_of_that_part(analysis, sweep_path, tmp_path):
    trials = analysis.trials
    chosen = (trials["task_type"] == "sequence") & (trials["weight_decay"] > 0.2)
    part = analysis.where(chosen)
    assert repr(part) == f"<Analysis of robust: {chosen.sum()} of 300 trials>"
    assert part.trials["trial_id"].tolist() == trials["trial_id"][chosen].tolist()
    assert f"{chosen.sum()} of 300 trials were chosen: by hand" in part.overview().notes
    assert "space" not in part.overview().tables["parameters"]
    axes = {axis.name: axis for axis in part.sweeps.space().axes}
    assert list(axes) == ["base", "weight_decay", "dropout", "training_fraction"]
    assert axes["base"].when == {}
    assert 0.14 < axes["weight_decay"].low <= trials["weight_decay"][chosen].min()
    assert (axes["weight_decay"].high, axes["dropout"].low, axes["dropout"].high) == (3, 0, 0.4)
    # Drawn at random, each configuration counts alike: as where nothing but the part had been run.
    found, weight = part.robustness(), outcomes(part.sweeps.trials)
    share = np.average(weight.grokked, weights=weight.weight)
    assert found.table["share"][0] == pytest.approx(share, abs=0.02)
    # Curves, too, are its own.
    ids = set(part.trials["trial_id"])
    assert set(part.curves["trial_id"]) == ids
    assert part.phases(phase_accuracy=0.8).table["trials"].sum() <= len(ids)
    with pytest.raises(ConfigError, match="no id starts so"):
        part.curves_of([trials["trial_id"][~chosen].iloc[0]])
    again = part.where(part.trials["base"] == 10)
    assert again.overview().notes[0].startswith(f"{len(again.trials)} of 300 ")
    # Of several folders, one of them is what it is by itself.
    make_sweep(tmp_path / "other", 60, seed=5, scheduler="fifo")
    both = grokray.load([sweep_path, tmp_path / "other"])
    alone, other = both.where(both.trials["sweep"] == "other"), grokray.load(tmp_path / "other")
    assert alone.robustness().summary == other.robustness().summary
    assert alone.overview().tables["sweeps"]["sweep"].tolist() == ["other"]
    assert len(alone.curves) == len(other.curves)
    assert repr(alone) == "<Analysis of other: 60 of 360 trials>"
    place = dict(zip(alone.trials["trial_id"], alone.trials["trial_index"], strict=True))
    assert place[alone.curves["trial_id"].iloc[0]] == alone.curves["trial_index"].iloc[0] == 300
    pruned = both.where(both.trials["outcome"] != "stopped").where(both.trials["seed"] == 0)
    assert pruned.overview().tables["sweeps"]["trials"].tolist() == [100, 20]
    assert len(pruned.curves) == len(both.curves_of(pruned.trials["trial_id"].tolist()))


@pytest.mark.parametrize(
    "chosen",
    [
        lambda trials: trials["base"],
        lambda trials: trials["seed"].sort_values(ascending=False) == 0,
        lambda trials: trials[trials["seed"] == 0]["base"] == 10,
        lambda trials: [True],
        lambda trials: None,
        lambda trials: trials["operation"],
    ],
)
def test_a_part_is_chosen_by_a_truth_for_each_trial(analysis, chosen):
    with pytest.raises(ConfigError, match="must be true or false for each of 300 trials in order, as "):
        analysis.where(chosen(analysis.trials))
    with pytest.raises(ConfigError, match="none of 300 trials is chosen"):
        analysis.where(analysis.trials["seed"] == 99)


def test_times_for_other_programs_are_those_of_the_estimators(analysis):
    joined = analysis.trials.join(analysis.times())
    grokked = joined["grok_step"].notna()
    assert (joined["observed"] == grokked).all()
    assert (joined["upper"][grokked] == joined["grok_step"][grokked]).all()
    assert (joined["lower"][grokked] == joined["grok_step_lower"][grokked]).all()
    assert np.isinf(joined["upper"][~grokked]).all()
    assert (joined["steps"] == joined["upper"].where(grokked, joined["lower"])).all()
    diverged = joined["outcome"] == "diverged"
    assert diverged.any()
    assert (joined["steps"][diverged] == joined["num_steps"][diverged]).all()
    assert (joined["weight"][joined["outcome"] == "pruned"] == 0).all()
    audited = joined["audited"]
    assert (joined["weight"][audited] == 1 / joined["audit_probability"][audited]).all()


def test_several_folders_of_one_space_show_it_as_one_does(sweep_path, tmp_path, analysis):
    make_sweep(tmp_path / "more", 60, seed=5)
    spaces = [a.overview().tables["parameters"] for a in (analysis, grokray.load([sweep_path, tmp_path / "more"]))]
    assert spaces[0]["space"].tolist() == spaces[1]["space"].tolist()


def test_an_empty_text_is_a_group_with_a_name():
    assert [value_text(value) for value in ("", None, "x")] == ['""', "none", "x"]


def test_what_is_not_in_the_search_space_follows_from_others(analysis):
    spaces = analysis.overview().tables["parameters"].set_index("parameter")["space"]
    assert spaces["digit_order"] == "follows from others"
    assert spaces["base"].endswith("if task_type is sequence")
    profiles = analysis.robustness().tables["profiles"]
    assert not profiles.loc[profiles["parameter"] == "base", "value"].str.endswith(".0").any()


@pytest.mark.parametrize("tried", ["few of all combinations", "all combinations"])
def test_scattered_values_are_cut_into_ranges_and_those_of_a_grid_are_not(tried):
    decays, fractions = np.geomspace(0.01, 1, 10), np.linspace(0.2, 0.8, 10)
    if tried == "all combinations":
        decays, fractions = (part.ravel() for part in np.meshgrid(decays, fractions))
    phase = np.where(np.arange(len(decays)) % 2, "grokking", "memorization")
    found = diagram_of(
        trials_of(len(decays), weight_decay=decays, training_fraction=fractions, phase=phase),
        "weight_decay",
        "training_fraction",
    )
    expected = (10, 10, "categories") if tried == "all combinations" else (3, 3, "log")
    assert (len(found.x), len(found.y), found.x.scale) == expected
    assert found.counts.sum() == len(decays)


def test_values_that_each_configuration_has_of_its_own_are_scattered_beside_a_choice_of_two_too():
    trials = trials_of(12, weight_decay=np.geomspace(0.01, 1, 12), warmup_steps=[10, 200] * 6, phase="grokking")
    found = diagram_of(trials, "weight_decay", "warmup_steps")
    assert (len(found.x), found.x.scale, len(found.y)) == (3, "log", 2)


def of_steps(log_steps: np.ndarray, weight_decay: np.ndarray) -> pa.Table:
    step = np.ceil(np.exp(log_steps) / 100) * 100
    return trials_of(
        len(step),
        weight_decay=weight_decay,
        grok_step=step,
        grok_step_lower=step - 100,
        duration_steps=step,
        num_steps=200_000,
    )


def test_a_time_that_falls_and_rises_is_not_told_as_no_effect():
    rng = np.random.default_rng(0)
    doublings = np.linspace(-3, 3, 120)
    noise = rng.normal(0, 0.3, 120)
    valley = effects(of_steps(8 + 0.3 * doublings**2 + noise, 2.0**doublings))
    none = "No effect on when a trial groks can be told from none."
    assert valley.summary == f"{none} The time does not change evenly along weight_decay."
    (note,) = (note for note in valley.notes if "parabola" in note)
    assert note.startswith(
        "of the time a parabola fits better than a line (weight_decay, p < 0.001): a ratio is a mean"
    )
    for log_steps in (8 + 0.3 * doublings + noise, 8 + noise):
        even = effects(of_steps(log_steps, 2.0**doublings))
        assert "evenly" not in even.summary
        assert not any("parabola" in note for note in even.notes)


def test_of_three_values_or_few_events_no_bend_is_told():
    rng = np.random.default_rng(0)
    doublings = np.repeat([-2.0, 0, 2], 40)
    three = effects(of_steps(8 + 0.3 * doublings**2 + rng.normal(0, 0.3, 120), 2.0**doublings))
    few = np.linspace(-3, 3, 15)
    assert not any("parabola" in n for n in (*three.notes, *effects(of_steps(8 + few**2, 2.0**few)).notes))


def test_what_a_search_that_learns_tried_is_said_to_be_no_even_sample(tmp_path):
    for method in ("random", "tpe"):
        make_sweep(tmp_path / method, 120, method=method, scheduler="fifo", curves=False)
    even, learned = (grokray.load(tmp_path / method) for method in ("random", "tpe"))
    assert (even.sweeps.uneven, even.sweeps.learned) == (None, False)
    warning = "tpe chose configurations by what came of others: shares of trials, times and variances are of"
    assert any(text.startswith(warning) for text in learned.quality().table["warning"])
    assert LEARNED in learned.survival().notes
    assert LEARNED in learned.survival(by="task_type").notes
    assert LEARNED not in even.survival().notes
    assert not any("tpe" in str(text) for text in even.quality().tables.get("warnings", {}).get("warning", ()))
    tests = [one.survival().tables["tests"]["p_value"].tolist() for one in (even, learned)]
    assert tests[0] != tests[1]  # of the same trials


def test_an_effect_whose_interval_has_hardly_an_end_is_not_told():
    """As where the likelihood rises for nearly ever: the hazard ratio would be of 10 digits, and so its ends."""
    wide, told = (effect_of("x", "x + 1", 23.0, error, level=0.95) for error in (7.2, 6.9))
    assert wide.reason == BOUNDLESS
    assert np.isnan([wide.ratio, wide.lower, wide.p_value]).all()
    assert told.reason is None
