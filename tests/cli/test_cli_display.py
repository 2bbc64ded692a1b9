"""What is seen while a sweep runs, in a terminal and elsewhere, and the tables and words it is made of."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from rich.console import Console

from grokray.cli import display
from grokray.cli.display import Lines, Picture, observing
from grokray.cli.pace import WINDOW_S, Pace
from grokray.cli.tables import Column, fitted, tally, varying_parameters
from grokray.cli.wording import duration, memory, value
from grokray.sweep.load import load_sweep
from grokray.sweep.progress import Progress, progress_of


def progress(**changes):
    plain = {
        "total": 16,
        "known": 8,
        "running": 0,
        "ended": 0,
        "outcomes": {},
        "steps": 0,
        "ended_steps": 0,
        "best": (),
    }
    return Progress(**{**plain, **changes})


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def text_of(renderable, width):
    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 100])
def test_the_picture_fits_the_terminal(width, begun, space):
    clock = Clock()
    picture = Picture("small", varying_parameters(load_sweep(space)), Pace(2000), clock)
    assert text_of(picture, width) == ["small: starting · 0 s"]
    state = begun().state()
    picture.take(progress_of(state, 8))
    clock.now += 10
    picture.take(progress(total=8, running=5, ended=2, steps=6900, outcomes={"grokked": 1, "pruned": 1}))
    picture.progress = progress_of(state, 8)
    lines = text_of(picture, width)
    assert max(map(len, lines)) <= width
    assert lines[1].strip() == "━" * (width // 4)
    text = " ".join(line.strip() for line in lines)
    assert "2 of 8 trials ended · 10 s" in text
    assert "1 running · 5 waiting · 1 grokked" in text
    assert "300 trial-steps/s" in text
    assert "> 2,000" in text


def test_a_terminal_gets_a_picture_that_vanishes(begun, space):
    console = Console(file=StringIO(), force_terminal=True, width=60, height=20, color_system=None)
    with observing(console, load_sweep(space), 2000) as observer:
        observer.message("going on")
        observer.progress(progress_of(begun().state(), 8))
    assert "going on" in console.file.getvalue()
    assert "2 of 8 trials ended" in console.file.getvalue()


def test_elsewhere_lines_are_few():
    clock, console = Clock(), Console(file=StringIO(), width=60)
    lines = Lines(console, Pace(1000), clock)
    for _ in range(240):  # two minutes, nothing ends
        clock.now += 0.5
        lines.take(progress())
    written = console.file.getvalue().splitlines()
    assert len(written) == 12
    assert written[0] == "0 s: 0 of 16 ended, 0 running · 0 grokked"


def test_elsewhere_an_end_is_told_sooner_but_not_at_once():
    clock, console = Clock(), Console(file=StringIO(), width=60)
    lines = Lines(console, Pace(1000), clock)
    for ended in range(16):  # one every half second
        clock.now += 0.5
        lines.take(progress(ended=ended, outcomes={"budget": ended} if ended else {}))
    written = console.file.getvalue().splitlines()
    assert [line.split()[2] for line in written] == ["0", "4", "8", "12"]
    assert written[1] == "2 s: 4 of 16 ended, 0 running · 0 grokked · 4 budget"
    assert display.LINE_AT_MOST_EVERY_S == 2


def test_pace_is_that_of_the_last_half_minute():
    pace = Pace(1000)
    assert pace.steps_per_s is None
    for second in range(200):
        steps = 5000 + (second * 10 if second < 100 else 1000 + (second - 100) * 100)
        pace.add(second, progress(steps=steps))
    assert pace.steps_per_s == pytest.approx(100)
    assert WINDOW_S == 30


def test_pace_needs_movement():
    pace = Pace(1000)
    pace.add(0.0, progress(steps=500))
    pace.add(5.0, progress(steps=500))
    assert pace.steps_per_s is None
    assert pace.seconds_left(progress(steps=500)) is None


def left(*seen: tuple[float, dict]) -> float:
    """Seconds left after progress at these seconds, of trials of 1,000 steps at most."""
    pace = Pace(1000)
    for now, changes in seen:
        pace.add(now, progress(**changes))
    return pace.seconds_left(progress(**seen[-1][1]))


BEGIN = (0.0, {"steps": 0})


def test_without_an_end_every_trial_takes_its_budget():
    assert left(BEGIN, (12.0, {"total": 4, "running": 2, "steps": 1200})) == pytest.approx(28)
    whole = {"total": 4, "running": 1, "ended": 2, "outcomes": {"budget": 2}, "steps": 2500, "ended_steps": 2000}
    assert left(BEGIN, (25.0, whole)) == pytest.approx(15)


def test_trials_that_end_early_shorten_what_is_left():
    """One end in 2,000 steps: one that waits takes 2,000 (1 - exp(-1/2)) of 1,000 steps, one that has done half of
    them 2,000 (1 - exp(-1/4)) more."""
    early = {"total": 4, "running": 2, "ended": 1, "outcomes": {"grokked": 1}, "steps": 2000, "ended_steps": 1000}
    assert left(BEGIN, (20.0, early)) == pytest.approx(20 * (2 * (1 - math.exp(-1 / 4)) + 1 - math.exp(-1 / 2)))


def test_those_that_are_left_when_the_quick_ones_have_ended_are_not_quick():
    """24 of 48 were pruned after 150 steps each, and nothing has ended since."""
    half = {"total": 48, "running": 24, "ended": 24, "outcomes": {"pruned": 24}, "ended_steps": 3600}
    steps = [half | {"steps": 3600 + 24 * done} for done in (200, 400, 600)]
    assert left(BEGIN, (10.0, steps[0]), (30.0, steps[1]), (50.0, steps[2])) == pytest.approx(40)


COLUMNS = [
    Column(name="trial", cells=["ab", "cd"], number=False),
    Column(name="weight_decay", cells=["0.1", "0.25"], optional=True),
    Column(name="dropout", cells=["0", "0.5"], optional=True),
]


@pytest.mark.parametrize(
    ("width", "header", "note"),
    [
        (40, "trial  weight_decay  dropout", None),
        (25, "trial    decay  dropout", None),
        (16, "trial    decay", "not shown here:"),
        (10, "trial", "not shown"),
    ],
)
def test_narrow_tables_break_headings_and_then_leave_columns_out(width, header, note):
    lines = text_of(fitted(COLUMNS, width), width)
    assert header in [line.rstrip() for line in lines[:2]]
    assert max(map(len, lines)) <= width
    assert any(line.startswith("ab") for line in lines)
    assert (note is None) == (not any(line.startswith("not shown") for line in lines))


NEEDED = [
    Column(name="parameter", cells=["training_fraction", "base"], number=False),
    Column(name="value", cells=["0.3 to 0.375", "10"]),
    Column(name="share", cells=["18.7 % (10.2 to 28.2 %)", "–"]),
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["training_fraction 0.3 to 0.375 18.7 % (10.2 to 28.2 %)"]),
        (45, ["training_ 0.3 to 0.375 18.7 %", "fraction (10.2 to 28.2 %)"]),
    ],
)
def test_nothing_of_what_is_needed_is_cut(width, lines):
    shown = text_of(fitted(NEEDED, width), width)
    assert [" ".join(line.split()) for line in shown[2 : 2 + len(lines)]] == lines
    assert max(map(len, shown)) <= width
    assert any(line.startswith("base") for line in shown)


def test_where_no_number_would_stay_whole_each_row_is_a_list_of_all_columns():
    outcome = Column(name="outcome", cells=["grokked", "budget"], optional=True)
    assert text_of(fitted([*NEEDED, outcome], 38), 38) == [
        *("training_fraction", "  value: 0.3 to 0.375", "  share: 18.7 % (10.2 to 28.2 %)", "  outcome: grokked"),
        *("base", "  value: 10", "  share: –", "  outcome: budget"),
    ]


def test_what_is_left_out_is_named_where_cells_are_broken_too():
    outcome = Column(name="outcome", cells=["grokked", "budget"], optional=True)
    assert text_of(fitted([*NEEDED, outcome], 45), 45)[-1] == "not shown here: outcome"


def test_varying_parameters_have_their_clear_names(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "method: grid\nseeds: 2\nparameters: {prime: {values: [7, 11]}, dropout: {values: [0, 0.1]},"
        " weight_decay: {value: 1}, num_layers: {values: [1]}}\n"
    )
    assert varying_parameters(load_sweep(path)) == ["modulus", "dropout", "seed"]


def test_words():
    assert [duration(x) for x in (-1, 7.9, 60, 95, 3725, 90_000)] == [
        *("0 s", "7 s", "1 min", "1 min 35 s", "1 h 2 min", "1 d 1 h")
    ]
    assert [memory(x) for x in (12, 5_200_000, 5e12)] == ["12 bytes", "5.2 MB", "5000.0 GB"]
    assert [value(x) for x in (None, True, 0.30000004, 3, "pre")] == ["–", "true", "0.3", "3", "pre"]
    assert (
        tally({"budget": 2, "grokked": 1, "odd": 1, "failed": 0}, ("grokked", "budget"))
        == "1 grokked · 2 budget · 1 odd"
    )


def test_on_a_dumb_terminal_no_cell_is_cut_in_silence(monkeypatch):
    """Rich takes those for 80 columns wide, whatever width it is told."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))
    columns = [Column(name=f"column {n}", cells=["0123456789" * 2], optional=n > 0) for n in range(6)]
    written = StringIO()
    Console(file=written, width=80, height=25).print(fitted(columns, 80))
    shown = written.getvalue()
    assert shown.count("0123456789" * 2) == 3
    assert "not shown here: column 3, column 4, column 5" in shown
