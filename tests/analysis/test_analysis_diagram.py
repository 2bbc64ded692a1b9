from __future__ import annotations

import numpy as np
import pytest

from grokray.analysis.diagram import cut, diagram
from grokray.errors import ConfigError
from grokray.events import PHASES
from tests.analysis.tables import grokking, trials_of


def test_each_cell_has_its_trials_and_the_empty_one_says_so():
    trials = trials_of(
        6,
        task_type=["classification", "classification", "sequence", "sequence", "sequence", "classification"],
        base=[None, None, 10, 10, 2, None],
        grok_step=[500, None, 700, 900, None, None],
        phase=["grokking", "confusion", "comprehension", "grokking", "memorization", "diverged"],
    )
    found = diagram(trials, "base", "task_type")
    assert (found.x.labels, found.y.labels) == (["2", "10", "none"], ["classification", "sequence"])
    assert found.used.tolist() == [[0, 0, 3], [1, 2, 0]]
    assert found.empty.tolist() == [[True, True, False], [False, False, True]]
    assert np.isnan(found.share[found.empty]).all()
    assert found.share[~found.empty].tolist() == pytest.approx([1 / 3, 0, 1])
    assert found.counts.sum() == 6
    assert dict(zip(PHASES, found.counts[0, 2], strict=True)) == {
        **dict.fromkeys(PHASES, 0),
        "grokking": 1,
        "confusion": 1,
        "diverged": 1,
    }
    assert found.commonest[1].tolist() == ["memorization", "comprehension", None]


def test_cells_of_numbers_against_a_plain_loop():
    rng = np.random.default_rng(0)
    wd, fraction = np.exp(rng.uniform(np.log(0.01), np.log(3), 2000)), rng.uniform(0.2, 0.8, 2000)
    happened = rng.random(2000) < fraction
    trials = trials_of(2000, weight_decay=wd, training_fraction=fraction, grok_step=grokking(happened))
    found = diagram(trials, "weight_decay", "training_fraction")
    assert (found.x.scale, found.y.scale) == ("log", "linear")
    assert found.used.sum() == 2000
    x, y = found.x.edges, found.y.edges
    for row in range(len(found.y)):
        for col in range(len(found.x)):
            inside = (wd >= x[col]) & (wd < x[col + 1]) & (fraction >= y[row]) & (fraction < y[row + 1])
            inside |= (wd == x[-1]) & (col == len(found.x) - 1) & (fraction >= y[row]) & (fraction < y[row + 1])
            inside |= (fraction == y[-1]) & (row == len(found.y) - 1) & (wd >= x[col]) & (wd < x[col + 1])
            assert found.used[row, col] == inside.sum()
            assert found.share[row, col] == pytest.approx(happened[inside].mean())
    covered = (found.lower <= (y[:-1, None] + y[1:, None]) / 2) & (found.upper >= (y[:-1, None] + y[1:, None]) / 2)
    assert covered.mean() > 0.85


def test_pruned_trials_count_in_the_phases_and_not_in_the_share():
    trials = trials_of(
        3,
        outcome=["pruned", "budget", "grokked"],
        grok_step=[None, None, 400],
        phase=["memorization", "memorization", "grokking"],
        audited=[False, True, False],
        audit_probability=[0.5, 0.5, None],
    )
    found = diagram(trials, "operation", "norm")
    assert found.counts.sum() == 3
    assert found.used.tolist() == [[2]]
    assert found.share[0, 0] == pytest.approx(1 / 3)


def test_truth_values_are_written_as_in_a_search_space():
    assert cut(trials_of(3, fixed_sequence_length=[True, None, False]), "fixed_sequence_length").labels == [
        *("false", "true", "none"),
    ]


def test_quantile_bins_hold_equally_many():
    values = np.random.default_rng(0).lognormal(size=800)
    bins = cut(trials_of(800, weight_decay=values), "weight_decay", 8, "quantiles")
    assert np.bincount(bins.bin).tolist() == [100] * 8


def test_what_is_absent_has_no_bin_of_numbers():
    assert cut(trials_of(3, base=[2, None, 64]), "base", 2, "linear").bin.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("norm", "log", "norm holds texts, but must hold numbers for the scale log"),
        ("dropout", "log", "dropout is 0 somewhere, but must be above 0 for the scale log"),
        ("weight_decay", "linear", "weight_decay must have at least two different numbers"),
        ("weight_decay", "cubic", "scale is cubic, but must be one of auto, categories"),
        ("wieght_decay", "auto", "the trials have no column wieght_decay"),
    ],
)
def test_columns_that_cannot_be_cut_so_are_refused(name, scale, message):
    with pytest.raises(ConfigError, match=message):
        cut(trials_of(2, dropout=[0.0, 0.3]), name, 4, scale)
