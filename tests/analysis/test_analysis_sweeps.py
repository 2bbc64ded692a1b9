"""Folders as one analysis: what is renumbered, counted once, filled in, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from synthetic import make_sweep

import grokray
from grokray.analysis.lost_steps import with_lost_steps
from grokray.analysis.sweeps import load_sweeps
from grokray.errors import ConfigError, FolderError
from grokray.records.collect import write_tables
from grokray.records.schema import CURVES_SCHEMA, TRIALS_SCHEMA
from grokray.records.tables import read_curves, read_trials
from tests.analysis.tables import trials_of


def test_one_folder_is_what_its_tables_say(sweep_path):
    found = load_sweeps(sweep_path)
    (folder,) = found.folders
    assert found.trials.drop_columns(["sweep"]).equals(read_trials(folder))
    assert found.trials["sweep"].unique().to_pylist() == ["robust"]
    assert found.curves().equals(read_curves(folder))
    assert found.space().method == "random"


def test_tables_without_a_journal_are_read_as_they_are_however_old(tmp_path):
    folder = make_sweep(tmp_path / "copy", 30, seed=3)
    assert not folder.begun()
    os.utime(tmp_path / "copy" / "manifest.json", (0, 0))
    assert load_sweeps(tmp_path / "copy").trials.num_rows == 30


def test_two_folders_are_numbered_through_and_keep_their_curves(sweep_path, tmp_path):
    other = make_sweep(tmp_path / "more", 60, seed=5)
    both = load_sweeps([sweep_path, tmp_path / "more"])
    assert both.trials.num_rows == 360
    assert both.trials["trial_index"].to_pylist() == list(range(360))
    assert len(both.trials["configuration"].unique()) == 120
    assert both.trials["sweep"].value_counts().to_pylist() == [
        {"values": "robust", "counts": 300},
        {"values": "more", "counts": 60},
    ]
    trial = both.trials["trial_id"][310].as_py()
    assert trial == read_trials(other)["trial_id"][10].as_py()
    one = both.curves([trial])
    assert one["step"].equals(read_curves(other, [trial])["step"])
    assert set(one["trial_index"].to_pylist()) == {310}
    whole = pa.concat_tables(list(both.curve_parts(["heldout_exact_match"])))
    assert len(whole["trial_index"].unique()) == 360


def test_trials_that_two_folders_hold_count_once(tmp_path):
    make_sweep(tmp_path / "a", 30, seed=3, running=9)
    make_sweep(tmp_path / "b", 30, seed=3)
    both = load_sweeps([tmp_path / "a", tmp_path / "b"])
    assert both.trials.num_rows == 30
    assert both.notes == ("30 trials are in more than one folder, and count once",)
    # Of each the one that has ended stays.
    assert both.trials["state"].unique().to_pylist() == ["ended"]
    assert set(both.trials["sweep"].to_pylist()[-9:]) == {"b"}


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_audited_trials_stand_for_nobody_whom_another_folder_let_run_to_the_end(names, tmp_path):
    make_sweep(tmp_path / "a", 300, seeds=1, seed=100, curves=False)
    make_sweep(tmp_path / "b", 300, seeds=1, seed=100, curves=False, scheduler="fifo")
    both = grokray.load([tmp_path / name for name in names])
    assert both.trials["audited"].sum() == 0
    whole = grokray.load(tmp_path / "b").robustness().estimates[0]
    assert both.robustness().estimates[0].share.value == pytest.approx(whole.share.value)


@pytest.mark.parametrize(("seeds", "chance"), [((1, 2), 1 - 0.9 * 0.8), ((1, 1), 0.2)])
def test_a_trial_that_two_folders_wanted_to_stop_stands_for_as_many_as_either_might_have_audited(
    seeds, chance, tmp_path
):
    for name, seed, own in zip("ab", seeds, (0.1, 0.2), strict=True):
        folder = make_sweep(tmp_path / name, 4, seeds=1, seed=seed, curves=False, scheduler="fifo")
        trials = read_trials(folder)
        fields = {
            "trial_id": pa.array(["one", "two", "three", name]),
            "stop_step": pa.array([2_000, 2_000, None, 2_000], pa.int64()),
            "audited": pa.array([True, name == "a", False, True]),
            "audit_probability": pa.array([own, own, None, own]),
            "outcome": pa.array(["budget", "budget" if name == "a" else "pruned", "budget", "budget"]),
        }
        for field, values in fields.items():
            trials = trials.set_column(trials.schema.get_field_index(field), trials.schema.field(field), values)
        write_tables(folder, trials, [CURVES_SCHEMA.empty_table()])
    found = load_sweeps([tmp_path / "a", tmp_path / "b"]).trials.to_pandas().set_index("trial_id")
    assert found.loc[["one", "two"], "audit_probability"].tolist() == pytest.approx([chance] * 2)
    assert found.loc[["a", "b"], "audit_probability"].tolist() == [0.1, 0.2]
    assert np.isnan(found.loc["three", "audit_probability"])


def test_equal_configurations_of_two_sweeps_are_one_cluster(tmp_path):
    make_sweep(tmp_path / "a", 30, seed=3)
    folder = make_sweep(tmp_path / "b", 30, seed=3)
    trials = read_trials(folder)
    for name in ("seed", "init_seed", "split_seed", "order_seed"):
        moved = pa.compute.add(trials[name], 100)
        trials = trials.set_column(trials.schema.get_field_index(name), name, moved)
    ids = pa.array([f"other{number}" for number in range(30)])
    trials = trials.set_column(trials.schema.get_field_index("trial_id"), "trial_id", ids)
    write_tables(folder, trials, [CURVES_SCHEMA.empty_table()])
    both = load_sweeps([tmp_path / "a", tmp_path / "b"])
    assert both.trials.num_rows == 60
    first, second = np.split(both.trials["configuration"].to_numpy(), 2)
    assert (first == second).all()
    assert len(set(first.tolist())) == 10


def test_sweeps_of_different_spaces_are_no_even_sample(tmp_path):
    make_sweep(tmp_path / "a", 60, seed=1)
    make_sweep(tmp_path / "b", 60, seed=2, steps=10_000)
    found = grokray.load([tmp_path / "a", tmp_path / "b"]).robustness()
    assert found.estimates[0].adaptive
    assert any("different search spaces" in note for note in found.notes)


def test_sweeps_that_differ_in_what_grokking_is_say_so(tmp_path):
    make_sweep(tmp_path / "a", 30, seed=1)
    folder = make_sweep(tmp_path / "b", 30, seed=2)
    trials = read_trials(folder)
    assert load_sweeps([tmp_path / "a", tmp_path / "b"]).notes == ()
    lower = pa.repeat(pa.scalar(0.5, trials["threshold"].type), trials.num_rows)
    trials = trials.set_column(trials.schema.get_field_index("threshold"), "threshold", lower)
    write_tables(folder, trials, [CURVES_SCHEMA.empty_table()])
    (note,) = load_sweeps([tmp_path / "a", tmp_path / "b"]).notes
    assert note.startswith("threshold is 0.5 or 0.99, so trials did not grok, or memorize, by the same rule")


def test_tables_of_an_older_version_are_filled_in(tmp_path):
    folder = make_sweep(tmp_path / "old", 60, scheduler="unaudited")
    late = ["stop_step", "audited", "audit_probability", "measure", "compiled"]
    write_tables(folder, read_trials(folder).drop_columns(late), [CURVES_SCHEMA.empty_table()])
    found = load_sweeps(tmp_path / "old").trials
    assert found["audited"].to_pylist() == [False] * 60
    assert set(found["measure"].to_pylist()) == {""}
    assert found["stop_step"].null_count == 60


def test_curves_are_had_by_the_start_of_an_id(sweep_path):
    a = grokray.load(sweep_path)
    whole = a.trials["trial_id"][0]
    assert a.curves_of(whole[:12]).equals(a.curves_of(whole))
    with pytest.raises(ConfigError, match=r"trial_ids holds '.', but \d+ trials have ids that start so: "):
        a.curves_of(whole[0])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda a: a.survival(by="wieght_decay"),
            "by is wieght_decay, but the trials have no such column; the nearest is",
        ),
        (lambda a: a.critical_fraction(by="bas"), "by is bas, but the trials have no such column; the nearest is base"),
        (lambda a: a.survival(by="foo"), "no such column; the parameters that vary are weight_decay, "),
        (lambda a: a.plot_phases(y="foo"), "no such column; the parameters that vary are weight_decay, "),
        (lambda a: a.curves_of(columns=["zebra"]), "no such column; there are attempt, "),
        (lambda a: a.survival(by="trial_id"), "which has 300 different texts, but at most 20 are groups"),
        (lambda a: a.curves_of("nix"), "trial_ids holds 'nix', but no id starts so"),
        (lambda a: a.curves_of(["", "nix"]), "trial_ids holds '', but no id starts so"),
        (lambda a: a.curves_of(columns=["heldout_los"]), "columns is heldout_los, but the curves have no such column"),
        (lambda a: a.phases(threshhold=0.9), "threshhold is no threshold; the nearest is threshold"),
        (lambda a: a.phases(threshold=1.5), "threshold is 1.5, but must be in (0, 1]"),
        (lambda a: a.phases(phase_accuracy=2), "phase_accuracy is 2, but must be in (0, 1]"),
        (lambda a: a.phases(sustain="3"), "sustain is '3', but must be a whole number above 0"),
        (lambda a: a.phases(phase_gap_steps="1k"), "phase_gap_steps is '1k', but must be 0 or above"),
        (lambda a: a.phases(phase_gap_steps=-1), "phase_gap_steps is -1, but must be 0 or above"),
        (
            lambda a: a.plot_phases(x="droput"),
            "x is droput, but the trials have no such column; the nearest is dropout",
        ),
        (lambda a: a.plot_profile("modulus"), "parameter is modulus, which does not vary in the search space"),
        (lambda a: a.plot_profile("modules"), "parameter is modules, but the search space has no such column"),
        (lambda a: a.plot_curves("zz"), "holds no trial whose id starts with zz"),
        (lambda a: a.plot_curves(""), "trial_id is '', but must be a trial's id, or how it begins"),
        (lambda a: a.plot_curves(3), "trial_id is 3, but must be a trial's id, or how it begins"),
        (lambda a: a.plot_curves(None), "trial_id is null, but must be a trial's id, or how it begins"),
        (lambda a: a.survival(by=""), "by is '', but the trials have no such column"),
        (lambda a: a.plot_survival(by=""), "by is '', but the trials have no such column"),
        (lambda a: a.survival(by=3), "by is 3, but the trials have no such column"),
        (lambda a: a.plot_profile(None), "parameter is null, but the search space has no such column"),
        (lambda a: a.plot_survival(ax=3), "ax is 3, but must be Axes of matplotlib"),
        (lambda a: a.plot_effects("x"), "of is 'x', but must be one of whether, when, if_all_grok, hazard_ratios"),
        (lambda a: a.curves_of(3), "trial_ids is 3, but must be a text, or a list of them"),
        (lambda a: a.curves_of(columns=4), "columns is 4, but must be a text, or a list of them"),
        (lambda a: a.curves_of([None]), "trial_ids is [null], but must be a text, or a list of them"),
        (lambda a: grokray.Analysis("out"), "sweeps is 'out', but must be what load_sweeps gives"),
        (lambda a: grokray.Analysis(a.sweeps, seed="x"), "seed is 'x', but must be a whole number, 0 or above"),
    ],
)
def test_wrong_arguments_are_one_clear_error(ask, message, sweep_path):
    with pytest.raises(ConfigError) as error:
        ask(grokray.load(sweep_path))
    assert message in str(error.value)
    assert str(error.value).startswith(error.value.problems[0].field or "")


def test_one_name_stands_for_a_list_of_it_and_no_trials_have_columns_too(sweep_path):
    loaded = grokray.load(sweep_path)
    one = loaded.trials["trial_id"][0]
    several = loaded.curves_of([one], ["heldout_loss"])
    assert len(several) > 0
    pd.testing.assert_frame_equal(loaded.curves_of(one, "heldout_loss"), several)
    none = loaded.curves_of([], ["heldout_loss"])
    assert (len(none), list(none.columns)) == (0, list(several.columns))


def test_folders_that_cannot_be_analysed(tmp_path, sweep_path):
    with pytest.raises(FolderError, match="is no sweep's folder"):
        grokray.load(tmp_path)
    with pytest.raises(ConfigError, match="is named twice"):
        grokray.load([sweep_path, sweep_path])
    (tmp_path / "link").symlink_to(sweep_path)
    with pytest.raises(ConfigError, match="link is named twice"):
        grokray.load([sweep_path, tmp_path / "link"])
    with pytest.raises(ConfigError, match="no folder is named"):
        grokray.load([])
    levels = ((95, "95"), ("a", "'a'"), (None, "null"), (float("nan"), "nan"), (1e-300, "1e-300"), (1 - 1e-12, "0.9"))
    for level, shown in levels:
        with pytest.raises(ConfigError, match=rf"level is {shown}9*, but must be in \[0.5, 0.9999\]"):
            grokray.load(sweep_path, level=level)
    for path, shown in ((None, "null"), (3, "3"), (b"out", "b'out'"), ([None], "null"), ("", "''")):
        with pytest.raises(ConfigError, match=f"path is {shown}, but must be a path or a URI"):
            grokray.load(path)
    for seed, shown in ((-1, "-1"), ("a", "'a'"), (0.5, "0.5")):
        with pytest.raises(ConfigError, match=f"seed is {shown}, but must be a whole number, 0 or above"):
            grokray.load(sweep_path, seed=seed)
    empty = make_sweep(tmp_path / "empty", 3)
    write_tables(empty, read_trials(empty).slice(0, 0), [CURVES_SCHEMA.empty_table()])
    with pytest.raises(ConfigError, match="no trial yet"):
        grokray.load(tmp_path / "empty")


def test_grokray_itself_loads_nothing_heavy():
    code = (
        "import sys, grokray; print(sorted({'pandas', 'numpy', 'pyarrow', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = grokray.laod  # pyright: ignore[reportAttributeAccessIssue]


def test_the_analysis_loads_neither_torch_nor_ray(sweep_path):
    code = f"""
import sys, grokray
a = grokray.load({str(sweep_path)!r})
a.survival(), a.effects(), a.robustness()
print(sorted({{"torch", "ray", "optuna", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_damage_of_the_journal_is_said_with_the_numbers(tmp_path):
    folder = make_sweep(tmp_path / "a", 30, seed=1)
    manifest = json.loads(folder.store.read_bytes("manifest.json"))
    assert load_sweeps(tmp_path / "a").notes == ()
    folder.store.write_atomic("manifest.json", json.dumps(manifest | {"damaged_lines": 2}).encode())
    said = f"2 lines were damaged in the journal of {folder.store}: what they told is missing here"
    assert load_sweeps(tmp_path / "a").notes == (said,)


def test_a_grok_step_that_damage_took_is_told_by_where_the_trial_ended(tmp_path):
    """As long as the line of its end is left: all numbers are those of the whole journal."""
    folder = make_sweep(tmp_path / "a", 60, seed=1, curves=False)
    whole = load_sweeps(tmp_path / "a").trials
    lost = np.flatnonzero(whole["grok_step"].is_valid().to_numpy())[::2]
    columns = whole.drop_columns(["sweep"]).to_pandas()
    columns.loc[lost, ["grok_step", "grok_step_lower", "grok_delay"]] = np.nan
    columns.loc[lost, "event_observed"] = False
    columns.loc[lost, "censor_reason"] = "stopped"
    columns.loc[lost, "duration_steps"] = (
        columns.loc[lost, "steps_trained"] - 100
    )  # the line before the one that is lost
    write_tables(
        folder, pa.Table.from_pandas(columns, TRIALS_SCHEMA, preserve_index=False), [CURVES_SCHEMA.empty_table()]
    )
    found = load_sweeps(tmp_path / "a")
    assert found.notes == (f"{len(lost)} grok steps were lost with damaged lines, and told by where the trial ended",)
    assert found.trials.equals(whole)


def test_no_grok_step_is_told_that_may_be_another():
    trials = trials_of(
        4,
        outcome="grokked",
        grok_step=[None] * 4,
        duration_steps=[900, 1_000, 900, 900],
        steps_trained=[1_000, 1_000, 1_000, 1_050],
        num_steps=1_050,
        continue_training=[False, False, True, False],
    )
    found, told = with_lost_steps(trials)
    # The second lacks the line of its end, too; the last ended at its budget, half an interval after a measurement.
    assert (told, found["grok_step"].to_pylist()) == (2, [800, None, None, 900])
    assert found["grok_step_lower"].to_pylist() == [700, None, None, 800]


def test_ranges_of_different_spaces_are_as_even_as_all_of_them_say(tmp_path):
    """A search that came to like large values leaves trials that look even in the value itself."""
    for number, steps in enumerate((10_000, 20_000)):
        folder = make_sweep(tmp_path / str(number), 300, seed=number, steps=steps, curves=False)
        trials = read_trials(folder)
        decay = trials["weight_decay"].to_numpy()
        liked = (decay > 0.6) | (decay < np.sort(np.unique(decay))[2])
        write_tables(folder, trials.filter(pa.array(liked)), [CURVES_SCHEMA.empty_table()])
    found = load_sweeps([tmp_path / "0", tmp_path / "1"])
    assert not found.one_space
    kinds = {axis.name: axis.kind for axis in found.space().axes if not axis.values}
    assert kinds == {"weight_decay": "log", "dropout": "uniform", "training_fraction": "uniform"}
