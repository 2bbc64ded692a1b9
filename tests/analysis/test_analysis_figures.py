"""Figures: what of a finding can be read off their axes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import grokray
from grokray.analysis.diagram import cut, diagram
from grokray.analysis.figures.forest import MOST_ROWS, Row, draw_forest, foremost, height_of
from grokray.analysis.figures.labels import in_lines, shortened
from grokray.analysis.figures.phases import draw_phases, height_of_phases
from grokray.analysis.figures.profile import draw_profile, height_beside
from grokray.analysis.figures.style import PAPER, WIDTH, log_steps, nothing_to_draw, steps_between, styled
from grokray.analysis.figures.survival import draw_survival, height_above, look_of
from grokray.analysis.survival import kaplan_meier, share_by
from grokray.analysis.times import Times
from tests.analysis.tables import grokking, trials_of

OPERATIONS = [
    *("x+y_mod", "x-y_mod", "x*y_mod", "x/y_mod", "x^2+y^2_mod", "x^2+xy+y^2+x_mod", "x^3+xy_mod", "x^3+xy+y^2+x_mod"),
    *("x/y_if_y_odd_else_x-y_mod", "xy_abs_diff", "s5_conjugate", "expr:(x**2 + 3*x*y) % p"),
]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def analysis(sweep_path):
    return grokray.load(sweep_path)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def ax_in_page():
    """As the report draws two rows."""
    with styled():
        yield Figure(figsize=(WIDTH, height_of(2)), layout="constrained").subplots()


def drawn(draw, height: float):
    """Axes as the report draws them, laid out."""
    with styled():
        ax = Figure(figsize=(WIDTH, height), layout="constrained").subplots()
        draw(ax)
    ax.figure.draw_without_rendering()
    return ax


def assert_labels_are_read(ax, axis) -> None:
    """No two of them lie on each other, and all are within the figure."""
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    assert len(boxes) > 1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    page = ax.figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 <= box.y0 for box in boxes)


@pytest.mark.parametrize("high", [3, 30, 1e3, 1e6, 1e12, 1e40])
def test_factors_however_wide_their_intervals_have_ticks_that_can_be_read(high):
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4.8, 2), layout="constrained").subplots()
    draw_forest(axes, [Row(label="a doubling", value=2, lower=1 / high, upper=high)], none=1, log=True)
    axes.figure.draw_without_rendering()
    assert_labels_are_read(axes, axes.xaxis)
    assert "1" in [label.get_text() for label in axes.get_xticklabels()]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_survival_is_drawn_as_the_share_grokked(analysis, ax):
    assert analysis.plot_survival(ax=ax) is ax
    (line,) = ax.lines
    assert line.get_ydata()[0] == 0
    share = analysis.survival().table["share"][0]
    assert line.get_ydata()[-1] == pytest.approx(share)
    assert (np.diff(line.get_ydata()) >= 0).all()
    assert ax.get_xlim()[1] == pytest.approx(20_200)
    assert tuple(ax.get_xticks()[[0, -1]]) == (ax.get_xlim()[0], 20_000)
    assert ax.xaxis.get_major_formatter()(20_000) == "20,000"
    # From the axis's left end on, where nobody has grokked.
    assert line.get_xdata()[0] == ax.get_xlim()[0]


def test_the_band_of_a_group_ends_at_its_interval_in_the_table(analysis, ax):
    analysis.plot_survival(by="base", ax=ax)
    groups = analysis.survival("base").tables["groups"]
    ends = []
    for band in ax.collections:
        corners = band.get_paths()[0].vertices
        at_the_end = corners[corners[:, 0] == 20_000, 1]
        ends.append((at_the_end.min(), at_the_end.max()))
    expected = groups[["share_lower", "share_upper"]].dropna().to_numpy()  # no share is known of one
    assert len(expected) == len(groups) - 1
    assert np.array(ends) == pytest.approx(expected)


def test_a_group_in_which_nobody_grokked_has_a_band(ax):
    times = Times.right_censored([4_000] * 12, [False] * 12)
    draw_survival(ax, {"none": kaplan_meier(times, horizon=4_000)}, 4_000)
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0, share_by(times, 4_000).upper))
    assert set(ax.lines[0].get_ydata()) == {0}


@pytest.mark.parametrize(
    ("first", "last", "places"),
    [
        (130, 4_000, [100, 200, 500, 1_000, 2_000, 4_000]),
        (1_000, 2_100, [1_000, 2_100]),  # no room beside the end
        (3, 20_000, [2, 10, 100, 1_000, 20_000]),
        (900, 901, [500, 901]),
        (1_260, 1_500, [1_000, 1_500]),
        (500, 500, [200, 500]),
        (0, 300, [1, 2, 5, 10, 20, 50, 100, 300]),
    ],
)
def test_a_logarithmic_axis_has_labels_at_its_ends(first, last, places):
    assert steps_between(first, last) == pytest.approx(places)


STEPS = [10, 50, 300, 1_000, 10_000, 100_000]
ENDS = [150_000, 200_000, 300_000, 1_000_000, 3_000_000, 10_000_000]


@pytest.mark.parametrize(("first", "last"), [(first, last) for first in STEPS for last in ENDS if 2 * first <= last])
def test_labels_of_steps_do_not_lie_on_each_other(first, last):
    assert_labels_are_read(ax := drawn(lambda ax: log_steps(ax, 0.9 * first, last), 2.7), ax.xaxis)


def test_survival_by_a_column_names_its_groups(analysis, ax):
    analysis.plot_survival(by="base", ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2", "64", "no base"]
    assert ax.get_legend().get_title().get_text() == "base"
    assert np.isnan(analysis.survival("base").tables["groups"].set_index("value").loc["10", "share"])
    dashes = {(line.get_color(), str(line.get_linestyle()), line.get_path().vertices.shape) for line in ax.lines}
    assert len(dashes) == 3


@pytest.mark.parametrize(("step", "is_above"), [(100, True), (3_000, False)])
def test_the_legend_covers_no_curve(ax_in_page, step, is_above):
    early = kaplan_meier(Times.right_censored(np.arange(step, step + 200, 10), [True] * 20), horizon=5_000)
    late = kaplan_meier(Times.right_censored([50] + [5_000] * 19, [True] + [False] * 19), horizon=5_000)
    draw_survival(ax_in_page, {"0.0101 to 0.0381": early, "0.0381 to 0.159": late}, 5_000, "weight_decay")
    ax_in_page.figure.draw_without_rendering()
    box = ax_in_page.get_legend().get_window_extent()
    assert (box.y0 > ax_in_page.bbox.y1) == is_above
    drawn = [line.get_path().interpolated(50).transformed(ax_in_page.transData).vertices for line in ax_in_page.lines]
    assert not any(box.contains(*point) for points in drawn for point in points)


@pytest.mark.parametrize("groups", [8, 11, 20])
def test_curves_of_many_groups_are_told_apart_and_none_is_behind_their_names(groups):
    rng = np.random.default_rng(0)
    names = [f"{name}{number // 12 or ''}" for number, name in enumerate(OPERATIONS * 2)][:groups]
    curves = {
        name: kaplan_meier(Times.right_censored(rng.integers(100, 5_000, 30), rng.random(30) < 0.7)) for name in names
    }
    ax = drawn(lambda ax: draw_survival(ax, curves, 5_000, "operation"), 2.7 + height_above(names))
    assert ax.get_legend().get_window_extent().y0 >= ax.bbox.y1
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1
    looks = [(line.get_color(), str(line._dash_pattern), line.get_marker()) for line in ax.lines]
    assert len(set(looks)) == groups
    assert ax.bbox.height / ax.figure.dpi > 1.5
    assert len({str(look_of(number)) for number in range(24)}) == 24


def test_a_phase_diagram_says_phase_and_share_in_words(analysis, ax):
    analysis.plot_phases("weight_decay", "dropout", ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weight_decay", "dropout")
    cells = [text for text in texts(ax) if "%" in text]
    assert len(cells) == len(ax.patches)
    assert {text[:2] for text in cells} <= {"cf", "me", "co", "gr", "di"}
    hatches = {patch.get_hatch() for patch in ax.patches}
    assert len(hatches) == len({patch.get_facecolor() for patch in ax.patches})


@pytest.mark.parametrize("number", [8, 12, 24])
def test_names_of_choices_can_be_read(number):
    names = (OPERATIONS + [f"{name}_again" for name in OPERATIONS])[:number]
    table = pd.DataFrame({"value": names, "share": 0.5, "share_lower": 0.2, "share_upper": 0.8})
    ax = drawn(lambda ax: draw_profile(ax, table, "operation"), 2.3 + height_beside(table))
    assert_labels_are_read(ax, ax.xaxis)
    assert [label.get_text().replace("\n", "") for label in ax.get_xticklabels()] == names
    assert 1.2 < ax.bbox.height / ax.figure.dpi < 2.3


def test_of_many_numbers_some_are_named():
    bases = [str(base) for base in range(2, 65, 2)]
    table = pd.DataFrame({"value": bases, "share": 0.5, "share_lower": 0.2, "share_upper": 0.8})
    ax = drawn(lambda ax: draw_profile(ax, table, "base"), 2.3)
    assert height_beside(table) == 0
    assert_labels_are_read(ax, ax.xaxis)
    assert 10 < sum(bool(label.get_text()) for label in ax.get_xticklabels()) < 32


@pytest.mark.parametrize(
    ("x", "y"), [("operation", "weight_decay"), ("weight_decay", "operation"), ("beta2", "operation")]
)
def test_a_phase_diagram_over_names_can_be_read(x, y):
    rng, length = np.random.default_rng(0), 360
    trials = trials_of(
        length,
        operation=np.tile(OPERATIONS, length // 12).tolist(),
        weight_decay=rng.random(length),
        beta2=rng.uniform(0.999, 0.9999, length),
        grok_step=grokking(rng.random(length) < 0.5),
        phase=rng.choice(["confusion", "memorization", "comprehension", "grokking", "diverged"], length).tolist(),
    )
    found = diagram(trials, *(name if name == "operation" else cut(trials, name, 5) for name in (x, y)))
    ax = drawn(lambda ax: draw_phases(ax, found), height_of_phases(found, 3.9))
    assert_labels_are_read(ax, ax.xaxis)
    assert_labels_are_read(ax, ax.yaxis)
    legend = ax.get_legend().get_window_extent()
    assert legend.x1 <= ax.figure.bbox.x1
    assert len(ax.get_legend().get_texts()) == 5


def test_a_long_name_keeps_its_ends_and_is_broken_after_a_sign():
    assert in_lines("x/y_if_y_odd_else_x-y_mod", 16) == "x/y_if_y_odd_\nelse_x-y_mod"
    assert in_lines("x+y_mod", 16) == "x+y_mod"
    assert shortened("a" * 30 + "b" * 30) == "a" * 19 + "…" + "b" * 19


def test_of_many_rows_those_with_a_number_are_drawn():
    few = [Row(label="none", value=NAN, lower=NAN, upper=NAN, why="nobody grokked")] * 4
    one = Row(label="one", value=0.5, lower=0.4, upper=0.6)
    assert foremost([*few, one]) == [*few, one]
    assert foremost([*few * 11, one]) == [one]
    assert len(foremost([one] * 100)) == MOST_ROWS
    assert 0 < len(foremost(few * 11)) <= MOST_ROWS


def test_effects_and_other_forests_name_each_row(analysis):
    for plot, table, column in (
        (analysis.plot_effects, analysis.effects().tables["when"], "effect_of"),
        (analysis.plot_comparison, analysis.comparison().table, "comparison"),
    ):
        ax = Figure().subplots()
        plot(ax=ax)
        reasons = table.get("reason", pd.Series([""] * len(table)))
        rows = zip(table[column], reasons, strict=True)
        assert texts(ax) == [text for row in rows for text in row if text]
    scales = [analysis.plot_effects(of, ax=Figure().subplots()).get_xscale() for of in analysis.effects().tables]
    assert scales == ["linear", "log", "log", "log"]
    labels = texts(analysis.plot_critical(ax=Figure().subplots()))
    assert labels[0] == "task_type classification"
    assert "task_type sequence, base 10" in labels


def test_a_difference_of_shares_is_in_points(analysis, ax):
    analysis.plot_comparison(ax=ax)
    assert ax.get_xlabel() == "difference in the share grokked, in points"
    assert ax.xaxis.get_major_formatter()(0.2) == "20"


def test_what_has_no_base_is_called_so_as_in_survival(analysis):
    labels = texts(analysis.plot_critical("base", ax=Figure().subplots()))
    assert "no base" in labels
    assert "no base" in analysis.survival("base").tables["groups"]["value"].tolist()
    assert "all trials" not in labels


def test_a_name_with_dollars_is_no_mathematics():
    """Folders, which are groups of several sweeps, may be called anything."""
    name = "cost$x^{$ b_"
    times = Times.of([0, 100], [100, np.inf])
    axes = [Figure().subplots() for _ in range(4)]
    draw_survival(axes[0], {name: kaplan_meier(times), "other": kaplan_meier(times)}, 200, "sweep")
    draw_forest(axes[1], [Row(label=name, value=NAN, lower=NAN, upper=NAN, why=name)])
    draw_profile(axes[2], pd.DataFrame({"value": [name], "share": 1.0, "share_lower": 0.5, "share_upper": 1.0}), "x")
    nothing_to_draw(axes[3], name)
    for each in axes:
        each.figure.savefig(os.devnull, format="svg")  # would be refused by the parser of mathematics


def test_importance_has_two_bars_for_each_parameter(analysis, ax):
    analysis.plot_importance(ax=ax)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == analysis.importance().table["parameter"].tolist()
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1  # below it were bars and intervals
    assert len(ax.patches) == 2 * len(names)
    assert {patch.get_hatch() for patch in ax.patches} == {"", "////"}
    # Each bar's interval, on its strip.
    table = analysis.importance().table
    drawn = [[list(line[:, 0]) for line in lines.get_segments()] for lines in ax.collections]
    fanova, ped_anova = (table[[f"{side}_lower", f"{side}_upper"]].to_numpy() for side in ("fanova", "ped_anova"))
    for lines, expected in zip(drawn, (fanova, fanova, ped_anova, ped_anova), strict=True):
        np.testing.assert_allclose(lines, expected)


def test_one_trials_curve_and_one_parameters_profile(analysis, ax):
    trial = analysis.trials.loc[analysis.trials["phase"] == "grokking", "trial_id"].iloc[0]
    analysis.plot_curves(trial[:12], ax=ax)
    assert {"training", "held-out"} <= set(texts(ax))
    profile = analysis.plot_profile("dropout", ax=Figure().subplots())
    assert profile.lines[0].get_ydata() == pytest.approx(
        analysis.robustness().tables["profiles"].query("parameter == 'dropout'")["share"].to_numpy()
    )


def test_a_finding_that_is_missing_says_why_in_the_axes(analysis, tmp_path, ax):
    from synthetic import make_sweep

    make_sweep(tmp_path / "s", 9, curves=False)
    grokray.load(tmp_path / "s").plot_importance(ax=ax)
    (text,) = texts(ax)
    assert "3 configurations are too few" in text.replace("\n", " ")


def test_intervals_in_forests_are_seen_whole_and_endless_ones_are_arrows(ax):
    rows = [
        Row(label="one", value=0.65, lower=0.56, upper=0.82),
        Row(label="endless", value=0.7, lower=0.5, upper=INF),
        Row(label="none", value=NAN, lower=NAN, upper=NAN, why="nobody grokked"),
    ]
    draw_forest(ax, rows)
    low, high = ax.get_xlim()
    assert low < 0.5
    assert 0.82 < high < 1.5
    arrows = [line for line in ax.lines if line.get_marker() == ">"]
    assert [line.get_xdata()[0] for line in arrows] == [high]
    assert texts(ax) == ["one", "endless", "none", "nobody grokked"]


def test_reasons_stay_within_the_figure(ax_in_page):
    why = "the likelihood has no maximum: too few trials grokked, or the covariates order their times exactly"
    rows = [Row(label=name, value=NAN, lower=NAN, upper=NAN, why=why) for name in "ab"]
    draw_forest(ax_in_page, rows, none=1, log=True)
    ax_in_page.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax_in_page.texts]
    assert max(box.x1 for box in boxes) <= ax_in_page.figure.bbox.x1
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
    assert why == ax_in_page.texts[1].get_text().replace("\n", " ")


def test_a_single_row_is_seen_with_its_interval(ax):
    draw_forest(ax, [Row(label="all", value=0.648, lower=0.562, upper=0.82)])
    assert ax.get_xlim()[0] < 0.562
    assert ax.get_xlim()[1] > 0.82


def test_one_boundless_ratio_does_not_squeeze_the_others(ax):
    rows = [Row(label="sure", value=0.5, lower=0.4, upper=0.6), Row(label="not", value=1.1, lower=1e-9, upper=1e9)]
    draw_forest(ax, rows, none=1, log=True)
    assert 0.05 < ax.get_xlim()[0] < 0.4
    assert 1.1 < ax.get_xlim()[1] < 20


def test_an_empty_bin_is_a_gap(ax):
    table = pd.DataFrame(
        {"value": ["0 to 1", "1 to 2", "2 to 3"], "share": [0.1, NAN, 0.5], "share_lower": [0, NAN, 0.2]}
    ).assign(share_upper=[0.2, NAN, 0.8])
    draw_profile(ax, table, "dropout")
    assert np.isnan(ax.lines[0].get_ydata()[1])
    assert ax.get_xticklabels()[0].get_text() == "0"


def test_pyplot_shows_a_figure_where_no_axes_are_given(analysis, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    axes = analysis.plot_survival()
    assert axes.figure.number in plt.get_fignums()
    plt.close(axes.figure)


def test_a_figure_of_its_own_is_white_and_given_axes_are_left_as_they_are(analysis, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"figure.facecolor": "black"}):
        own, given = analysis.plot_survival().figure, plt.figure()
        analysis.plot_survival(ax=given.subplots())
    assert own.get_facecolor() == (1, 1, 1, 1)
    assert given.get_facecolor() == (0, 0, 0, 1)
    plt.close(own)
    plt.close(given)


# What Jupyter's backend does when it is loaded, and to say so.
BACKEND = """
import matplotlib
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

FigureManager = FigureManagerBase
matplotlib.interactive(True)
matplotlib.rcParams["figure.dpi"] = 123
"""
DRAWN_FIRST = """
import sys
import matplotlib
import grokray

before = dict(matplotlib.rcParams)
analysis = grokray.load(sys.argv[1])
analysis.plot_survival()
assert "loaded_late" in sys.modules, "the test's backend was not loaded"
after = dict(matplotlib.rcParams)
changed = sorted(name for name in after if after[name] != before[name])
assert changed == ["figure.dpi", "interactive"], changed
assert matplotlib.is_interactive()
analysis.plot_survival()
import matplotlib.pyplot as plt
assert len(plt.get_fignums()) == 2
"""


def test_what_the_backend_sets_when_a_figure_loads_it_stays_set(sweep_path, tmp_path):
    """Jupyter's makes pyplot interactive: else of several figures in one cell the first alone is shown."""
    (tmp_path / "loaded_late.py").write_text(BACKEND)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {**os.environ, "MPLBACKEND": "module://loaded_late", "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-c", DRAWN_FIRST, str(sweep_path)], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_what_has_no_interval_has_a_hollow_mark_and_no_line(ax):
    rows = [Row(label="unknown", value=0.0, lower=NAN, upper=NAN), Row(label="none", value=NAN, lower=NAN, upper=NAN)]
    draw_forest(ax, rows, none=0, points=True)
    marks = [line for line in ax.lines if line.get_marker() in "oDs^v" and len(line.get_xdata()) == 1]
    assert [line.get_markerfacecolor() for line in marks] == [PAPER]
    assert not [line for line in ax.lines if line.get_marker() in "<>"]
    assert "no number" in texts(ax)
    assert ax.get_xlim()[1] - ax.get_xlim()[0] >= 0.1


def test_the_last_step_is_not_at_the_rim_where_all_have_grokked(ax):
    times = Times.right_censored([100, 200, 400, 400], [True] * 4)
    draw_survival(ax, {"all": kaplan_meier(times)}, horizon=400)
    (line,) = ax.lines
    assert line.get_ydata()[-1] == 1
    assert ax.get_xlim()[1] > 400 == line.get_xdata()[-1]
