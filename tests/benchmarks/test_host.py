from __future__ import annotations

import host
import pytest


def test_the_host_s_part_is_measured_of_everything_and_a_replayed_step_begins_no_operation():
    found = host.run_case(4, seconds=0.01)
    assert [*found] == ["trial-step", "evaluation", "change of a trial", "checkpoint, read", "checkpoint, bytes"]
    assert all(value["us"] > 0 for value in found.values())
    assert found["trial-step"]["operations"] < 1  # but for an epoch's order now and then
    assert found["change of a trial"]["operations"] > 10


def test_operations_are_counted_without_views():
    def call() -> float:
        t = host.torch.zeros(4)
        t.view(2, 2).add_(1)
        return 2.0

    assert host._operations(call) == pytest.approx(2 / 2)
