"""A sweep that grows by seeds, by configurations, or by both: what exists stays as it is, and what comes is the same
as if the sweep had been as large at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from grokray.cli.overview import trials_in_all
from grokray.records.folder import SweepFolder
from grokray.sweep.assignment import Report
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep
from grokray.sweep.proposer import RandomProposer
from grokray.trial import TrialConfig
from tests.sweep.sweeps import GRID, write

FEW = GRID.replace("[1e-3, 3e-3, 1e-2, 3e-2]", "[3e-3, 1e-2, 3e-2]").replace("[0, 0.2]", "[0]")
RANDOM = FEW.replace("{values: [3e-3, 1e-2, 3e-2]}", "{min: 1.0e-3, max: 3.0e-2}").replace(
    "method: grid", "method: random"
)
SOBOL = RANDOM.replace("random", "sobol")


def opened(folder: Path, *settings: str, text: str = FEW) -> Ledger:
    folder.mkdir(exist_ok=True)
    config = load_sweep(write(folder, text), settings)
    meta = {"versions": {}, "command": "test"}
    return Ledger(SweepFolder.create_or_open(folder / "out", config.to_yaml(), config.fingerprint(), meta), config)


def drawn(ledger: Ledger) -> list[str]:
    """All its trials that have not ended, in the order in which they start."""
    found = []
    while (assignment := ledger.next_assignment()) is not None:
        found.append(assignment.trial_id)
    return found


def ended(ledger: Ledger, trial_id: str, grok_step: int | None = None) -> None:
    events = {} if grok_step is None else {"grok_step": grok_step, "grok_step_lower": grok_step - 20}
    outcome, metrics = "budget" if grok_step is None else "grokked", {"heldout_loss": 1.0, "heldout_exact_match": 0.5}
    ledger.write("start", trial_id=trial_id, attempt=0, step=0)
    ledger.write("measurement", trial_id=trial_id, attempt=0, step=300, metrics=metrics, events=events)
    report = Report(trial_id=trial_id, step=300, metrics=metrics, events=events, wall_time_s=1.0, outcome=outcome)
    ledger.end(trial_id, outcome, report)


def numbers(ledger: Ledger) -> dict[str, tuple[int | None, int | None, int | None]]:
    """trial_index, configuration and seed of each trial."""
    return {t.trial_id: (t.index, t.configuration, t.seed) for t in ledger.poll().trials.values()}


def in_order(ledger: Ledger) -> list[tuple[int | None, int | None]]:
    """Configuration and seed, by trial_index."""
    found = sorted(numbers(ledger).values())
    assert [number for number, *_ in found] == list(range(len(found)))
    return [(configuration, seed) for _, configuration, seed in found]


@pytest.mark.parametrize("text", [FEW, RANDOM, SOBOL], ids=["grid", "random", "sobol"])
def test_what_exists_keeps_its_numbers_and_the_rest_is_that_of_a_sweep_as_large_at_once(text, tmp_path):
    small = opened(tmp_path, "num_trials=3", text=text)
    for trial_id in drawn(small)[:4]:
        ended(small, trial_id)
    before = numbers(small)
    grown = opened(tmp_path, "num_trials=4", "seeds=[3, 1, 2, 0]", text=text)
    assert (grown.to_run, grown.total) == (12, 16)
    late = [trial_id for trial_id in grown.poll().trials if trial_id not in before]
    assert [grown.assignment(trial_id).fresh for trial_id in late] == [True] * 6  # no checkpoint need be looked for
    assert not any(grown.assignment(trial_id).fresh for trial_id in before if trial_id not in grown.ended)
    to_start = drawn(grown)
    assert before.items() <= numbers(grown).items()
    new = [(c, seed) for seed in (3, 2) for c in (0, 1, 2)] + [(3, seed) for seed in (3, 1, 2, 0)]
    assert in_order(grown)[6:] == new
    assert to_start == [trial_id for trial_id in grown.poll().trials if trial_id not in grown.ended]
    once = opened(tmp_path / "once", "num_trials=4", "seeds=4", text=text)
    assert {*drawn(once)} == {*before, *to_start}
    assert {t: where[1:] for t, where in numbers(once).items()} == {t: w[1:] for t, w in numbers(grown).items()}
    for trial_id in to_start:
        ended(grown, trial_id)
    assert grown.finished
    again = opened(tmp_path, "num_trials=4", "seeds=4", text=text)
    assert again.finished
    assert numbers(again) == numbers(grown)


@pytest.mark.parametrize("text", [FEW, RANDOM, SOBOL], ids=["grid", "random", "sobol"])
def test_more_configurations_alone_have_the_numbers_that_they_would_have_had(text, tmp_path):
    drawn(opened(tmp_path, "num_trials=3", text=text))
    grown, once = opened(tmp_path, "num_trials=5", text=text), opened(tmp_path / "once", "num_trials=5", text=text)
    assert drawn(grown) == drawn(once)
    assert numbers(grown) == numbers(once)


def test_seed_by_seed_or_all_at_once_or_with_a_crash_at_any_line_is_the_same(tmp_path):
    drawn(opened(tmp_path))
    drawn(opened(tmp_path / "steps"))
    opened(tmp_path / "steps", "seeds=3")
    steps = opened(tmp_path / "steps", "seeds=4")
    grown = opened(tmp_path, "seeds=4")
    expected = numbers(grown)
    assert numbers(steps) == expected
    part = tmp_path / "out" / grown.journal.name
    lines = part.read_bytes().splitlines(keepends=True)
    assert len(lines) == 12
    for whole in range(12):
        part.write_bytes(b"".join(lines[:whole]) + lines[whole][:50])
        again = opened(tmp_path, "seeds=4")
        assert numbers(again) == expected
        (tmp_path / "out" / again.journal.name).unlink()


def test_a_sweep_that_was_interrupted_grows_where_it_is_and_then_goes_on(tmp_path):
    small = opened(tmp_path)
    first, begun = (small.next_assignment().trial_id for _ in range(2))  # type: ignore[union-attr]
    small.next_assignment()
    ended(small, first)
    small.write("start", trial_id=begun, attempt=0, step=0)
    grown = opened(tmp_path, "seeds=3")
    assert (grown.to_run, grown.total) == (17, 18)
    assert drawn(grown)[0] == begun
    assert in_order(grown)[:9] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2), (2, 0), (2, 1), (2, 2)]


def test_a_line_that_was_damaged_gets_its_number_again_though_the_sweep_has_grown(tmp_path):
    grown = opened(tmp_path)
    drawn(grown)
    before = numbers(grown)
    part = tmp_path / "out" / grown.journal.name
    lines = part.read_bytes().splitlines(keepends=True)
    lost = next(n for n, line in enumerate(lines) if b'"index":5' in line)
    part.write_bytes(b"".join([*lines[:lost], b"\0\n", *lines[lost + 1 :]]))
    again = opened(tmp_path, "seeds=3")
    assert before.items() <= numbers(again).items()
    assert [seed for _, seed in in_order(again)[12:]] == [2] * 6


@pytest.mark.parametrize("damaged", [7, 11])
def test_the_damaged_line_of_a_trial_that_came_late_leaves_its_number_to_it(damaged, tmp_path):
    drawn(opened(tmp_path, "seeds=[0]"))
    grown = opened(tmp_path, "seeds=3")
    before = numbers(grown)
    part = tmp_path / "out" / grown.journal.name
    part.write_bytes(part.read_bytes().replace(f'"index":{damaged},'.encode(), b""))
    assert numbers(opened(tmp_path, "seeds=3")) == before


def test_trials_that_come_late_take_little_memory_while_they_wait(tmp_path):
    drawn(opened(tmp_path, "seeds=[0]"))
    opened(tmp_path, "seeds=2")
    tracemalloc.start()
    try:
        grown = opened(tmp_path, "seeds=120")
        late = grown.to_run - 12
        assert late == 6 * 118
        assert tracemalloc.get_traced_memory()[0] < late * 4_000  # bytes; 2,300, and 5,800 with a TrialConfig of each
    finally:
        tracemalloc.stop()
    assert {len(grown.assignment(trial_id).config) for trial_id in drawn(grown)} == {len(TrialConfig.model_fields)}


def test_the_parts_of_a_sweep_grow_each_for_itself(tmp_path):
    for k in (1, 2):
        before = {*drawn(opened(tmp_path / str(k), f"part={k}/2", "num_trials=5", text=RANDOM))}
        grown = opened(tmp_path / str(k), f"part={k}/2", "num_trials=6", "seeds=3", text=RANDOM)
        trials = drawn(grown)
        assert before < {*trials}
        assert {c for c, _ in in_order(grown)} == {k - 1, k + 1, k + 3}
        assert len(trials) == 9


def test_a_configuration_is_worth_what_all_its_seeds_are_those_that_came_later_too(tmp_path, monkeypatch):
    told: dict[int, tuple[float, ...]] = {}
    monkeypatch.setattr(RandomProposer, "tell", lambda self, index, value: told.update({index: value}))
    text = RANDOM.replace("method: random", "method: random\nmetric: {name: robustness}")
    small = opened(tmp_path, "num_trials=2", text=text)
    for trial_id, grok_step in zip(drawn(small), (200, None, None, None), strict=True):
        ended(small, trial_id, grok_step)
    share, loss = 0.5, 1 - 0.5  # of the two seeds one has grokked; the squashed held-out loss is a half
    assert told == {0: pytest.approx((share + loss / 4,)), 1: pytest.approx((loss / 4,))}
    told.clear()
    grown = opened(tmp_path, "num_trials=2", "seeds=3", text=text)
    assert told == {}
    new = drawn(grown)
    ended(grown, new[0], 200)
    assert told == {0: pytest.approx((2 / 3 + loss * 3 / 2 / 9,))}
    ended(grown, new[1], 200)
    assert told[1] == pytest.approx((1 / 3 + loss * 3 / 2 / 9,))


FIXED = "{value: 7}\n  grokfast_alpha: {values: [0.9, 0.98]}"
ONE_SEED = "\n  init_seed: {value: 0, when: {grokfast_alpha: 0.98}}"
ALL_SEEDS = "".join(ONE_SEED.replace("init", name) for name in ("init", "split", "order"))


@pytest.mark.parametrize(
    ("fixed", "small", "large", "trials"),
    [(ONE_SEED, "[0]", "[0, 1]", 3), (ONE_SEED, "[1]", "[1, 0]", 3), (ALL_SEEDS, "[1]", "[1, 0]", 2)],
    ids=["a twin gets a trial of its own", "a new trial is that of two", "a new trial is there already"],
)
def test_configurations_whose_seeds_are_fixed_grow_too(fixed, small, large, trials, tmp_path):
    text = FEW.replace("{value: 7}", FIXED + fixed).replace("[3e-3, 1e-2, 3e-2]", "[3e-3]").replace("[0.1, 1]", "[1]")
    before = {*drawn(opened(tmp_path, f"seeds={small}", text=text))}
    grown = opened(tmp_path, f"seeds={large}", text=text)
    found = drawn(grown)
    assert before <= {*found} == {*drawn(opened(tmp_path / "once", f"seeds={large}", text=text))}
    assert len(found) == len(in_order(grown)) == grown.total == trials
    for trial_id in found:
        ended(grown, trial_id)
    again = opened(tmp_path, f"seeds={large}", text=text)
    assert again.finished
    assert numbers(again) == numbers(grown)


def test_the_trials_of_a_seed_that_no_session_has_begun_yet_are_counted(tmp_path):
    small = opened(tmp_path)
    for _ in range(3):
        small.next_assignment()
    grown = load_sweep(tmp_path / "tiny.yaml", ["seeds=4"])
    assert trials_in_all(small.config, small.poll()) == 12
    assert trials_in_all(grown, small.poll()) == 24
    small.write("sweep", session="a", versions={}, command="", fingerprint=grown.fingerprint())
    assert trials_in_all(grown, small.poll()) == 4 + 4 * 4  # it has given them none, as their parameters fix all seeds
