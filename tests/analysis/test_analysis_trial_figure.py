"""The picture of one trial: which trial, what is drawn of it, and that it is the same each time."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from grokray.analysis.figures.curves import draw_curve
from grokray.analysis.figures.ticks import plain_ticks
from grokray.analysis.figures.trial import _moved_apart, draw, regions, save, settings_of, task_of
from grokray.analysis.trial_curve import TaskCurve, TrialCurve, choose, trial_curve
from grokray.errors import ConfigError, FolderError
from grokray.records.folder import SweepFolder
from grokray.records.store import as_folder_error
from grokray.trial import TrialConfig

META = {"versions": {}, "command": "grokray sweep"}


def row_of(**changes) -> dict:
    events = {"memorization_step": 200, "grok_step": 800, "outcome": "grokked", "best_heldout_exact_match": 1.0}
    return {**TrialConfig().model_dump(), "trial_id": "ab12", "best_heldout_loss": 0.1, **events, **changes}


def curve_of(**changes) -> TrialCurve:
    steps = [100, 200, 400, 800, 1600]
    loss = {"train": [4, 1, 0.1, 0.01, 0.001], "heldout": [4, 5, 5, 2, 0.01]}
    accuracy = {"train": [0.1, 1, 1, 1, 1], "heldout": [0, 0.1, 0.3, 1, 1]}
    return TrialCurve(**{"row": row_of(), "steps": steps, "loss": loss, "accuracy": accuracy, **changes})


def begin(folder: Path, trials: int = 2) -> tuple[SweepFolder, list[str]]:
    """A sweep whose trials have two measurements each."""
    opened = SweepFolder.create_or_open(folder, "name: x\n", {}, META)
    configs = [TrialConfig(init_seed=seed) for seed in range(trials)]
    with opened.writer("driver") as journal:
        journal.write("sweep", session="a", fingerprint={}, **META)
        for index, config in enumerate(configs):
            journal.write("suggest", configuration=index, parameters={"init_seed": index})
            journal.write("trial", trial_id=config.id, index=index, configuration=index, config=config.model_dump())
            for step in (100, 200):
                measure(journal, config.id, step)
    return opened, [config.id for config in configs]


def measure(journal, trial_id: str, step: int) -> None:
    metrics = {"train_loss": 1.0, "train_exact_match": 0.5, "heldout_loss": 2.0, "heldout_exact_match": 0.25}
    journal.write("measurement", trial_id=trial_id, attempt=0, step=step, metrics=metrics)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_lines_are_the_curve():
    upper, lower = draw(curve_of()).axes
    assert (upper.get_xscale(), lower.get_yscale()) == ("log", "log")
    assert [list(line.get_ydata()) for line in lower.lines if len(line.get_ydata()) == 5] == [
        [4, 1, 0.1, 0.01, 0.001],
        [4, 5, 5, 2, 0.01],
    ]
    assert texts(lower) == ["held-out", "training"]
    assert texts(upper) == ["memorized by 200", "grokked by 800", "training", "held-out"]
    assert upper.get_xlim() == (100, 1600)


def test_what_else_was_measured_has_panels_of_its_own():
    measures = {"gradient_norm": [5.0, 1.0, None, 0.02, 0.01], "fourier_gini": [0.1, 0.2, 0.4, 0.7, 0.8]}
    figure = draw(curve_of(measures=measures))
    _, loss, norm, gini = figure.axes
    assert (norm.get_ylabel(), gini.get_ylabel()) == ("gradient\nnorm", "Fourier\nGini")
    assert (norm.get_yscale(), gini.get_yscale()) == ("log", "linear")
    assert [list(axes.lines[-1].get_ydata()) for axes in (norm, gini)] == [[5, 1, 0.02, 0.01], measures["fourier_gini"]]
    assert [axes.get_xlabel() for axes in (loss, norm, gini)] == ["", "", "training steps"]
    assert figure.get_figheight() > draw(curve_of()).get_figheight()


def test_a_measure_that_is_a_share_is_drawn_as_one_even_where_it_is_nothing():
    collapse = draw(curve_of(measures={"softmax_collapse": [0.0, 0.0, 0.0, 0.0, 0.0]})).axes[2]
    assert collapse.get_ylim() == (-0.04, 1.04)
    assert [label.get_text() for label in collapse.get_yticklabels()] == ["0", "0.5", "1"]


def test_measures_are_read_from_the_table(tmp_path):
    folder, (trial,) = begin(tmp_path / "s", trials=1)
    with folder.writer("engine") as journal:
        metrics = {"train_loss": 1.0, "heldout_loss": 2.0, "weight_norm": 40.0}
        journal.write("measurement", trial_id=trial, attempt=0, step=300, metrics=metrics)
    assert trial_curve(folder).measures == {"weight_norm": [None, None, 40.0]}


def test_lines_differ_without_colours():
    curve = curve_of()
    curve.accuracy["out_of_domain"] = [0, 0, 0, 0, 0]
    upper, _ = draw(curve).axes
    lines = [line for line in upper.lines if len(line.get_ydata()) == 5]
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 3


@pytest.mark.parametrize(
    ("memorized", "grokked", "expected"),
    [
        (200, 800, [(200, 800, "memorized"), (800, 1600, "grokked")]),
        (200, None, [(200, 1600, "memorized")]),
        (None, None, []),
        (800, 800, [(800, 1600, "grokked")]),
        (800, 400, [(400, 1600, "grokked")]),
        (None, 400, [(400, 1600, "grokked")]),
    ],
)
def test_regions(memorized, grokked, expected):
    assert regions(row_of(memorization_step=memorized, grok_step=grokked), 1600) == expected


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=3))
def test_names_never_overlap_nor_leave_the_panel(heights):
    placed = _moved_apart({str(i): height for i, height in enumerate(heights)}, gap=0.1)
    found = sorted(placed.values())
    assert len(found) == len(heights)
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(found, found[1:], strict=False))
    assert -1e-9 <= found[0] <= found[-1] <= 1


def test_names_stay_where_there_is_room():
    assert _moved_apart({"a": 0.2, "b": 0.9}) == {"b": 0.9, "a": 0.2}


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": [100], "loss": {"train": [4.0]}, "accuracy": {"train": [0.0]}, "row": row_of(grok_step=None)},
        {"loss": {"train": [4, None, None, None, None], "heldout": [4, 5, float("inf"), None, None]}},
        {"loss": {"train": [0.0, 0.0, 0.0, 0.0, 0.0], "heldout": [1, 1, 0.5, 0.1, 0.0]}},
        {"loss": {"train": [1e-12, 1e-9, 1e-6, 1, 1e3]}},
        {"loss": {"train": [0.5] * 5}},
        {"row": row_of(memorization_step=700, grok_step=800)},
    ],
    ids=["one measurement", "diverged", "no loss at all", "many decades", "flat", "close events"],
)
def test_odd_curves_can_be_drawn(changes, tmp_path):
    figure = draw(curve_of(**changes))
    assert "no finite loss above 0" not in texts(figure.axes[1])
    save(figure, [tmp_path / "a.png"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_panel_of_losses_that_are_none_says_so():
    nothing = {"train": [math.inf, None, None, None, None], "heldout": [0.0, math.nan, None, None, None]}
    lower = draw(curve_of(loss=nothing)).axes[1]
    assert texts(lower) == ["no finite loss above 0"]
    assert not lower.get_yticks().size


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        ((2.1, 2.9), {"2.2", "2.4", "2.6", "2.8"}),
        ((0.9, 30), {"1", "2", "5", "10", "20"}),
        ((42, 60), {"45", "50", "55", "60"}),
        ((700, 24_000), {"1,000", "2,000", "5,000", "10,000", "20,000"}),
        ((0.0101, 0.0139), {"0.011", "0.012", "0.013"}),
        ((6e-6, 2), {"1e-5", "1e-4", "0.001", "0.01", "0.1", "1"}),
        ((2.1e-4, 2.9e-4), {"2.2e-4", "2.4e-4", "2.6e-4", "2.8e-4"}),
    ],
)
def test_ticks_are_told_apart(limits, shown):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    plain_ticks(axes.yaxis, axes.get_ylim())
    ticks = [value for value in axes.yaxis.get_majorticklocs() if limits[0] <= value <= limits[1]]
    assert {axes.yaxis.get_major_formatter()(value) for value in ticks} == shown


def test_the_same_curve_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        save(draw(curve_of()), [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    for kind in ("svg", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert "grokked by 800" in (tmp_path / "a.svg").read_text()


def test_titles():
    assert task_of(row_of()) == "x/y mod 97"
    sequence = {"operation": "x+y", "modulus": None, "base": 10, "digit_order": "least_first"}
    assert task_of(row_of(**sequence)) == "x+y in base 10, least significant digit first"
    assert settings_of(row_of(dropout=0.1)) == "50 % trained on · weight decay 1 · dropout 0.1 · seed 0 · trial ab12"
    assert settings_of(row_of(init_seed=1, outcome="pruned")).endswith("weight decay 1 · trial ab12 · pruned")


def test_a_curve_out_of_a_folder(tmp_path):
    folder, ids = begin(tmp_path / "out")
    curve = trial_curve(folder, ids[1][:8])
    assert curve.row["trial_id"] == ids[1]
    assert (curve.steps, curve.loss) == ([100, 200], {"train": [1.0, 1.0], "heldout": [2.0, 2.0]})
    assert curve.accuracy == {"train": [0.5, 0.5], "heldout": [0.25, 0.25]}


def test_tables_are_made_anew_only_where_the_journal_went_on(tmp_path):
    folder, ids = begin(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    trial_curve(folder, ids[0])
    made = manifest.stat().st_mtime_ns
    assert trial_curve(folder, ids[0]).steps == [100, 200]
    assert manifest.stat().st_mtime_ns == made
    with folder.writer("train") as journal:
        measure(journal, ids[0], 300)
    assert trial_curve(folder, ids[0]).steps == [100, 200, 300]


def test_a_folder_that_cannot_be_written_says_what_would_help(tmp_path, monkeypatch):
    folder, ids = begin(tmp_path / "out")

    def refuse(self, name, data):
        with as_folder_error("write", self.shown(name)):
            raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(folder.store), "write_atomic", refuse)
    monkeypatch.setattr(type(folder.store), "create", refuse)
    with pytest.raises(FolderError, match="Read-only file system") as refusal:
        trial_curve(folder, ids[0])
    assert "`grokray fetch` copies it" in refusal.value.hint


def test_the_only_trial_needs_no_name(tmp_path):
    folder, ids = begin(tmp_path / "out", trials=1)
    assert trial_curve(folder).row["trial_id"] == ids[0]


def test_the_best_trial():
    rows = [
        row_of(trial_id="a", grok_step=None, best_heldout_exact_match=0.9),
        row_of(trial_id="b", grok_step=900),
        row_of(trial_id="c", grok_step=700, best_heldout_loss=5.0),
        row_of(trial_id="d", grok_step=None, best_heldout_exact_match=None, best_heldout_loss=None),
        row_of(trial_id="e", grok_step=None, best_heldout_exact_match=0.9, best_heldout_loss=0.05),
    ]
    order = []
    while rows:
        order.append(choose(rows, None, best=True, where="x")["trial_id"])
        rows = [row for row in rows if row["trial_id"] not in order]
    assert order == ["c", "b", "e", "a", "d"]


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (None, "out holds 3 trials: ab1, ab2, cd3"),
        ("ab", "out holds 2 trials whose id starts with ab: ab1, ab2"),
        ("x", "out holds no trial whose id starts with x"),
    ],
)
def test_a_trial_that_is_not_clear(trial, message):
    rows = [row_of(trial_id=name) for name in ("ab1", "ab2", "cd3")]
    with pytest.raises(ConfigError) as caught:
        choose(rows, trial, best=False, where="out")
    assert str(caught.value) == message


def test_a_trial_without_measurements(tmp_path):
    folder, _ = begin(tmp_path / "out", trials=1)
    waiting = TrialConfig(init_seed=9)
    with folder.writer("driver") as journal:
        journal.write("suggest", configuration=1, parameters={})
        journal.write("trial", trial_id=waiting.id, index=1, configuration=1, config=waiting.model_dump())
    with pytest.raises(ConfigError, match=f"trial {waiting.id} has no measurement yet"):
        trial_curve(folder, waiting.id)
    with pytest.raises(ConfigError, match="holds no trial yet"):
        trial_curve(SweepFolder.create_or_open(tmp_path / "empty", "name: x\n", {}, META))


def several(number: int = 2) -> dict[str, TaskCurve]:
    accuracy, loss = [0.0, 0.1, 0.2, 0.5, 1.0], [4.0, 3.0, None, 1.0, 0.5]
    return {f"t{i}": TaskCurve(grok_step=800 if i == 0 else None, loss=loss, accuracy=accuracy) for i in range(number)}


def test_each_task_of_several_has_its_line_and_its_name():
    figure = draw(curve_of(tasks=several()))
    upper, lower = figure.axes
    named = {line.get_label(): line for line in upper.lines if not line.get_label().startswith("_")}
    assert list(named) == ["t0", "t1"]
    assert list(named["t0"].get_ydata()) == [0.0, 0.1, 0.2, 0.5, 1.0]
    assert [len(line.get_ydata()) for line in lower.lines if line.get_label() == "t1"] == [4]
    assert len({(line.get_color(), line.get_marker()) for line in named.values()}) == 2
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["t0, grokked by 800", "t1, not grokked"]


def test_many_tasks_share_one_entry():
    figure = draw(curve_of(tasks=several(12)))
    assert len([line for line in figure.axes[0].lines if line.get_label().startswith("t")]) == 12
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["held-out, each of 12 tasks; 1 grokked"]
    assert not draw(curve_of()).legends


def test_tasks_out_of_a_folder(tmp_path):
    folder, [trial_id] = begin(tmp_path / "out", trials=1)
    with folder.writer("train") as journal:
        for step, shares in ((300, {"sum": 0.5, "product": 0.25}), (400, {"sum": 1.0, "product": 0.5})):
            tasks = {name: {"heldout_exact_match": a, "heldout_loss": 1 - a} for name, a in shares.items()}
            journal.write(
                "measurement",
                trial_id=trial_id,
                attempt=0,
                step=step,
                metrics={"heldout_exact_match": 0.5},
                tasks=tasks,
                task_events={"sum": {"grok_step": 400, "grok_step_lower": 300}} if step == 400 else {},
            )
    tasks = trial_curve(folder).tasks
    assert tasks["sum"] == TaskCurve(grok_step=400, accuracy=[None, None, 0.5, 1.0], loss=[None, None, 0.5, 0.0])
    assert tasks["product"].grok_step is None
    assert tasks.keys() == {"sum", "product"}


def test_titles_of_several_tasks():
    row = row_of(operation="x/y_mod,x+y")
    assert task_of(row, ["x/y_mod", "x+y"]) == "x/y mod 97, x+y"
    names = ["x^2+xy+y^2+x_mod", "x^3+xy^2+y_mod", "x^3+xy+y^2+x_mod"]
    assert task_of(row_of(base=10), names) == "3 tasks in base 10"
    assert task_of(row_of(operation="arc", modulus=None), ["flip", "turn"]) == "arc"


def test_the_name_of_a_late_event_stays_above_the_panel():
    upper, _ = draw(curve_of(row=row_of(memorization_step=1600, grok_step=None))).axes
    [name] = [text for text in upper.texts if text.get_text() == "memorized by 1,600"]
    assert (name.get_ha(), name.get_position()[0]) == ("right", 1)


@pytest.mark.parametrize("width", [4.8, 8])
@pytest.mark.parametrize("events", [(500, 1400), (60, 70), (60, 100), (100, 1500), (1300, 1400), (7, 12_000)])
def test_names_of_two_events_never_overlap(events, width):
    memorized, grokked = events
    steps = [min(50, memorized), 200, 400, 800, max(1500, grokked)]
    figure = Figure(figsize=(width, 2.4), layout="constrained")
    axes = figure.subplots()
    draw_curve(axes, curve_of(steps=steps, row=row_of(memorization_step=memorized, grok_step=grokked)))
    figure.draw_without_rendering()
    first, second = (text.get_window_extent() for text in axes.texts[:2])
    assert not first.overlaps(second)
