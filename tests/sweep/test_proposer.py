from __future__ import annotations

import pytest

from grokray.sweep.configurations import Configurations
from grokray.sweep.load import load_sweep
from grokray.sweep.proposer import SobolProposer, make_proposer

SPACE = """
name: s
method: {method}
num_trials: 40
parameters:
  operation: {{value: x+y_mod}}
  modulus: {{value: 11}}
  task_type: {{values: [classification, sequence]}}
  base: {{values: [2, 5, 10], when: {{task_type: sequence}}}}
  weight_decay: {{distribution: log_uniform_values, min: 0.01, max: 3}}
  dropout: {{distribution: uniform, min: 0, max: 0.4}}
"""


def config(tmp_path, method, more=""):
    path = tmp_path / "s.yaml"
    text = SPACE.format(method=method) + more
    if method == "grid":
        text = text.replace("distribution: log_uniform_values, min: 0.01, max: 3", "values: [0.01, 0.1, 1]")
        text = text.replace("distribution: uniform, min: 0, max: 0.4", "values: [0, 0.2]")
    path.write_text(text)
    return load_sweep(path)


@pytest.mark.parametrize("method", ["random", "sobol", "tpe"])
def test_proposals_are_a_function_of_seed_and_index(tmp_path, method):
    first, second = (make_proposer(config(tmp_path, method)) for _ in range(2))
    a = [first.propose(i) for i in range(12)]
    assert a == [second.propose(i) for i in range(12)]
    assert len({str(p) for p in a}) == 12
    assert first.propose(12, at_random=True) == second.propose(12, at_random=True)


@pytest.mark.parametrize("method", ["random", "sobol", "tpe"])
def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(tmp_path, method):
    whole, resumed = (make_proposer(config(tmp_path, method)) for _ in range(2))
    for i in range(15):
        proposal = whole.propose(i)
        value = float(i) if i < 12 else None
        resumed.replay(i, proposal)
        if value is not None:
            whole.tell(i, value)
            resumed.tell(i, value)
    assert whole.propose(15) == resumed.propose(15)


@pytest.mark.parametrize("method", ["random", "sobol", "tpe"])
def test_conditions_and_ranges_hold(tmp_path, method):
    proposer = make_proposer(config(tmp_path, method))
    choices = [proposer.choice(proposer.propose(i)) for i in range(30)]
    assert {"base" in c for c in choices} == {True, False}
    for c in choices:
        assert ("base" in c) == (c["task_type"] == "sequence")
        assert 0.01 <= c["weight_decay"] <= 3
        assert 0 <= c["dropout"] <= 0.4


def test_tpe_learns_from_what_it_is_told(tmp_path):
    proposer = make_proposer(config(tmp_path, "tpe"))
    seen = []
    for i in range(40):
        proposal = proposer.propose(i)
        seen.append(proposal["weight_decay"])
        proposer.tell(i, abs(proposal["weight_decay"] - 0.5))
    early, late = seen[:10], seen[30:]
    assert sum(abs(w - 0.5) for w in late) < sum(abs(w - 0.5) for w in early)


SEVERAL = "metric: [{name: heldout_loss}, {name: heldout_exact_match}]\n"


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_of_several_metrics_goes_on_as_if_it_had_not_stopped(tmp_path, method):
    whole, resumed = (make_proposer(config(tmp_path, method, SEVERAL)) for _ in range(2))
    for i in range(16):
        proposal, values = whole.propose(i), (float(i), (i % 5) / 5)
        resumed.replay(i, proposal)
        whole.tell(i, values)
        resumed.tell(i, values)
    if method == "tpe":  # the other remembers nothing
        assert [d.name for d in whole.study.directions] == ["MINIMIZE", "MAXIMIZE"]
        told = [proposer.study.trials[3].values for proposer in (whole, resumed)]
        assert told == [[3, 0.6]] * 2
    assert whole.propose(16) == resumed.propose(16)


def test_tpe_looks_for_what_is_good_in_both_respects(tmp_path):
    """Weight decay alone decides about the one, dropout about the other."""
    proposer = make_proposer(config(tmp_path, "tpe", SEVERAL))
    seen = []
    for i in range(40):
        p = proposer.propose(i)
        seen.append((abs(p["weight_decay"] - 0.5), abs(p["dropout"] - 0.3)))
        proposer.tell(i, (seen[-1][0], -seen[-1][1]))
    for aim in (0, 1):
        assert sum(s[aim] for s in seen[25:]) / 15 < sum(s[aim] for s in seen[:10]) / 10


def test_a_grid_ends(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(
        "name: g\nmethod: grid\nparameters:\n  operation: {value: x+y_mod}\n"
        "  dropout: {values: [0, 0.1]}\n  num_layers: {values: [1, 2, 3]}\n"
    )
    proposer = make_proposer(load_sweep(path))
    proposals = [proposer.propose(i) for i in range(7)]
    assert [(p["dropout"], p["num_layers"]) for p in proposals[:6]] == [(d, n) for d in (0, 0.1) for n in (1, 2, 3)]
    assert proposals[6] is None


def test_sobol_spreads_evenly(tmp_path):
    proposer = make_proposer(config(tmp_path, "sobol"))
    dropouts = sorted(proposer.propose(i)["dropout"] for i in range(16))
    assert all(i * 0.4 / 16 <= d < (i + 1) * 0.4 / 16 for i, d in enumerate(dropouts))


@pytest.mark.parametrize("method", ["grid", "random", "sobol"])
def test_the_same_is_proposed_in_whatever_order_it_is_asked_for(tmp_path, method):
    """A part of a sweep leaves some out, a resumed one begins later, and what the journal lost is proposed again."""
    in_order, jumping = (make_proposer(config(tmp_path, method)) for _ in range(2))
    expected = [in_order.propose(i) for i in range(12)]
    assert None not in expected
    for i in (3, 4, 7, 10, 0, 11, 11, 2):
        assert jumping.propose(i) == expected[i], i
        assert jumping.propose_again(i) == expected[i], i


def test_a_search_that_learns_does_not_guess_what_it_proposed_before(tmp_path):
    assert make_proposer(config(tmp_path, "tpe")).propose_again(0) is None


def test_sobol_in_a_space_of_one_point_proposes_it_once(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("name: s\nmethod: sobol\nnum_trials: 1\nparameters:\n  operation: {value: x+y_mod}\n")
    proposer = make_proposer(load_sweep(path))
    assert proposer.propose(0) == {"operation": "x+y_mod"}
    assert proposer.propose(1) is None


def test_sobol_scrambles_its_sequence_once(tmp_path, monkeypatch):
    proposer = SobolProposer(config(tmp_path, "sobol"))
    begun = []
    monkeypatch.setattr(
        SobolProposer, "_begun", lambda self, begin=SobolProposer._begun: begun.append(1) or begin(self)
    )
    for i in range(20):
        proposer.propose(2 * i)
    assert len(begun) == 1


class Unsearched(dict):
    def __iter__(self):
        raise AssertionError("all earlier configurations are looked at")


def test_a_proposal_looks_at_no_earlier_ones(tmp_path):
    """Else a sweep of 100,000 spends minutes on it, and as long again whenever it goes on."""
    found = Configurations(config(tmp_path, "random"))
    found.members = Unsearched()
    for index in range(5):
        proposal = found.propose()
        assert proposal is not None
        assert proposal.index == index
        found.take(proposal)
