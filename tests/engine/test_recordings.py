"""Recorded steps: what they are bound to, and that they compute what steps that are not recorded do."""

from __future__ import annotations

import pytest
import torch

from grokray.engine.checkpoint import from_bytes, to_bytes
from grokray.engine.engine import Engine
from grokray.engine.kernels import OPTIONS as KERNEL_OPTIONS
from grokray.engine.kernels import Kernels
from grokray.engine.memory import step_bytes
from grokray.engine.recordings import Recordings
from grokray.engine.shape import shape_of
from grokray.engine.slots import Slots
from grokray.engine.step import Step, parts_of
from grokray.engine.tables import Tables
from grokray.engine.tiles import buckets, powers
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import alone, curve, of_three_at_most, run, small
from tests.engine.replay import MUCH, Outdated, Tape, pretend
from tests.engine.test_engine import SEQUENCE
from tests.engine.test_options import OPTIONS, beside

MEASURE = "gradient_norm,update_norm,weight_norm"


def joined(number: int, **changes) -> Engine:
    engine = Engine()
    for i in range(number):
        engine.join(str(i), small(seed=i, **changes))
    return engine


@pytest.mark.parametrize("number", [1, 3, 8])
def test_a_bucket_is_recorded_once_and_replayed_for_every_further_step(monkeypatch, number):
    stacks = pretend(monkeypatch)
    curves = run(joined(number, dropout=0.1, num_steps=30))
    (stack,) = stacks
    assert stack.recordings.recorder.recorded == [1 << (number - 1).bit_length()]
    monkeypatch.undo()
    for i in range(number):
        assert curve(curves[str(i)]) == curve(alone(small(seed=i, dropout=0.1, num_steps=30)))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_every_option_is_computed_as_it_is_without_recording(monkeypatch, options):
    changes = {"num_steps": 12, "eval_interval": 4, "measure": MEASURE}
    config = small(**{**options, **changes})
    stacks = pretend(monkeypatch)
    engine = Engine()
    engine.join("watched", config)
    beside(engine, options, **changes)
    found = run(engine)["watched"]
    # Steps whose norms are wanted are recorded apart; of several batches, the first, those between and the last too.
    kinds = {part for measured in (False, True) for part in parts_of(config.accumulation_steps, measured=measured)}
    assert stacks[0].recordings.recorder.recorded == [4] * len(kinds)
    monkeypatch.undo()
    assert curve(found) == curve(alone(config))


def test_what_replaces_tensors_is_followed_by_new_recordings_and_nothing_else_is(monkeypatch):
    stacks = pretend(monkeypatch)
    config = {"dropout": 0.2, "num_steps": 60, "eval_interval": 3}
    engine, seen = Engine(), {}

    def turn() -> list[int]:
        """One more measurement of those that train; the buckets that were recorded for it."""
        before = len(stacks[0].recordings.recorder.recorded)
        for m in engine.next():
            seen.setdefault(m.trial, []).append(m)
        return stacks[0].recordings.recorder.recorded[before:]

    def join(name: str, **changes) -> None:
        configs[name] = small(**config, **changes)
        engine.join(name, configs[name])

    configs = {}
    join("watched", seed=1)
    assert turn() == [1]
    join("second", seed=2)
    assert turn() == [2]  # the slots have grown
    join("third", seed=3)
    assert turn() == [4]
    join("fourth", seed=4)
    assert turn() == []  # there was room
    engine.park("third")
    assert turn() == []
    engine.leave("fourth")
    assert turn() == [2]  # a bucket not seen since the slots have grown
    engine.unpark("third")
    assert turn() == []
    join("other table", operation="x-y_mod", seed=5)
    assert turn() == [4]  # the rows of all tables lie elsewhere
    engine.leave("second")
    join("more rows", training_fraction=0.9, seed=6)
    assert turn() == [4]  # a longer order
    join("noisy", input_noise=0.1, seed=7)
    assert turn() == [8]  # the slots have grown, and another option is in use
    engine.leave("noisy")
    assert turn() == [4]
    engine.leave("watched")
    engine.join("watched", configs["watched"])
    assert turn() == []
    monkeypatch.undo()
    for name, config in configs.items():
        reference = curve(alone(config))
        found = curve(seen[name])
        assert found[: len(reference)] == reference[: len(found)] or name == "watched"
    steps = [m.step for m in seen["watched"]]
    assert steps == [*range(3, 3 * len(steps), 3), 3]


def test_tables_that_are_dropped_are_followed_by_new_recordings(monkeypatch):
    """Label noise gives each trial a table of its own."""
    stacks = pretend(monkeypatch)
    watched = small(label_noise=0.2, dropout=0.1, num_steps=50)
    engine = Engine()
    for seed in range(1, 4):
        engine.join(f"passing {seed}", small(label_noise=0.2, split_seed=seed, num_steps=50))
    engine.join("watched", watched)
    head = [m for m in engine.next() if m.trial == "watched"]
    for seed in range(1, 4):
        engine.leave(f"passing {seed}")
    tail = run(engine)["watched"]
    assert stacks[0].recordings.recorder.recorded == [4, 1]
    monkeypatch.undo()
    assert curve(head + tail) == curve(alone(watched))


def test_a_trial_moves_to_an_engine_that_records_otherwise(monkeypatch):
    pretend(monkeypatch)
    config = small(dropout=0.3, num_steps=50, **SEQUENCE)
    first, second = Engine(), Engine()
    first.join("moved", config)
    head = first.next() + first.next()
    data, digest = to_bytes(first.save("moved"))
    for i in range(3):
        second.join(f"neighbour {i}", small(seed=i + 1, **SEQUENCE))
    second.restore("moved", config, from_bytes(data, digest))
    tail = run(second)["moved"]
    monkeypatch.undo()
    assert curve(head + tail) == curve(alone(config))


@pytest.mark.parametrize("replace", ["slots", "order", "tables"])
def test_a_recording_of_replaced_tensors_would_be_refused(monkeypatch, replace):
    """Else the tests above could not fail."""
    (engine, stack), config = _trained_once(monkeypatch), small(seed=9, operation="x-y_mod")
    if replace == "tables":
        stack.tables.add(build_dataset(config))
    else:
        stack.slots.reserve(*((9, 1) if replace == "slots" else (1, 500)))
    monkeypatch.setattr(stack.recordings, "_drop_outdated", lambda: None)
    with pytest.raises(Outdated, match={"slots": "parameters", "order": "^order$", "tables": "tokens"}[replace]):
        engine.next()


def _trained_once(monkeypatch):
    stacks = pretend(monkeypatch)
    engine = joined(1)
    engine.next()
    return engine, stacks[0]


def test_padding_slots_are_left_as_they_are(monkeypatch):
    """Of parked trials, and of trials that have left."""
    stacks = pretend(monkeypatch)
    engine = joined(6, dropout=0.1, weight_noise=0.1)
    engine.next()
    for name in "12":
        engine.leave(name)
    engine.park("4")
    (stack,) = stacks
    before = {name: t.clone() for name, t in stack.slots.tensors.items()}
    assert [seat.trial for seat in stack.seats][3:] == ["4"]
    stack.advance(3)
    stack.backend.tiles = lambda *_: [(0, 8)]
    stack.advance(3)
    assert [seat.step for seat in stack.seats] == [16, 16, 16, 10]
    for name, t in stack.slots.tensors.items():
        assert torch.equal(t[3:], before[name][3:]), name
    assert not torch.equal(stack.slots.parameters[:3], before["parameters"][:3])


def test_rows_of_a_trial_that_has_left_are_not_read(monkeypatch):
    """Its table may be dropped, while its slot pads a bucket."""
    pretend(monkeypatch)
    engine = Engine()
    for i in range(3):
        engine.join(f"plain {i}", small(seed=i, num_steps=20))
    for i in range(2):
        engine.join(f"noisy {i}", small(seed=i, num_steps=20, label_noise=0.1))
    assert len(engine._stacks) == 1
    engine.next()
    engine.leave("noisy 0")
    engine.leave("noisy 1")
    curves = run(engine)
    assert curves["plain 2"][-1].outcome == "budget"


# -- memory


def test_buckets_follow_each_other_and_the_last_is_as_narrow_as_may_be():
    assert buckets(19, powers(8)) == [(0, 8), (8, 8), (16, 4)]
    assert buckets(5, powers(8)) == [(0, 8)]
    for training in range(1, 70):
        for widest in (1, 4, 16, 64):
            tiles = buckets(training, powers(widest))
            ends = [first + width for first, width in tiles]
            assert [first for first, _ in tiles] == [0, *ends[:-1]]
            assert all(width & (width - 1) == 0 and width <= widest for _, width in tiles)
            assert tiles[-1][1] // 2 < training - tiles[-1][0] <= tiles[-1][1]


def test_more_trials_than_fit_are_computed_bucket_by_bucket(monkeypatch):
    shape = shape_of(build_dataset(small()))
    stacks = pretend(monkeypatch, free=2 * 2 * step_bytes(shape))
    curves = run(joined(5, dropout=0.1))
    assert stacks[0].recordings.recorder.recorded[:3] == [2, 2, 1]
    assert max(stacks[0].recordings.recorder.recorded) == 2
    monkeypatch.undo()
    for i in range(5):
        assert curve(curves[str(i)]) == curve(alone(small(seed=i, dropout=0.1)))


def test_what_does_not_fit_is_tried_half_as_wide_and_no_trial_feels_it(monkeypatch):
    stacks = pretend(monkeypatch, fits=lambda width: width <= 2)
    curves = run(joined(6, dropout=0.1, measure=MEASURE))
    assert stacks[0].recordings.recorder.recorded == [8, 4, 2, 2, 2, 2, 2, 2]
    assert stacks[0].recordings.recorder.held == [False, False]  # what did not fit is gone before the next is tried
    monkeypatch.undo()
    for i in range(6):
        assert curve(curves[str(i)]) == curve(alone(small(seed=i, dropout=0.1, measure=MEASURE)))


def test_a_single_slot_that_does_not_fit_is_an_error(monkeypatch):
    pretend(monkeypatch, fits=lambda width: False)
    with pytest.raises(torch.OutOfMemoryError):
        run(joined(2))


def test_a_step_that_did_not_fit_is_not_kept_for_tensors_that_are_replaced(monkeypatch):
    room: list[bool] = []
    pretend(monkeypatch, fits=lambda width: bool(room))
    engine = joined(1)
    with pytest.raises(torch.OutOfMemoryError):
        engine.next()
    room.append(True)
    engine.join("second", small(seed=1))  # the slots grow
    engine.leave("second")
    found = run(engine)["0"]
    monkeypatch.undo()
    assert curve(found) == curve(alone(small(seed=0)))


def test_slots_and_orders_for_trials_to_come_are_reserved_so_that_nothing_is_recorded_anew(monkeypatch):
    monkeypatch.setattr("tests.engine.replay.FREE_FOR_SLOTS", MUCH)
    stacks = pretend(monkeypatch)
    engine = Engine(capacity=6)
    for i in range(4):
        engine.join(str(i), small(seed=i, training_fraction=0.2 + 0.2 * i, eval_interval=2, batch_size=16))
        engine.next()
    (stack,) = stacks
    assert (stack.slots.capacity, stack.slots.max_rows) == (8, 121)
    assert stack.recordings.recorder.recorded == [1, 2, 4]


def test_an_evaluation_that_does_not_fit_is_done_in_halves_and_never_tried_again(monkeypatch):
    sizes = of_three_at_most(monkeypatch)
    pretend(monkeypatch)
    curves = run(joined(7, num_steps=6, eval_interval=3))
    assert sizes == [8, 4, 2, 2, 2, 2, *[2, 2, 2, 2]]  # the eighth is there to fill the bucket
    monkeypatch.undo()
    for i in range(7):
        assert curve(curves[str(i)]) == curve(alone(small(seed=i, num_steps=6, eval_interval=3)))


def test_trials_with_tables_of_their_own_are_evaluated_together(monkeypatch):
    sizes, real = [], Recordings.totals
    monkeypatch.setattr(
        Recordings, "totals", lambda self, rows, *more: sizes.append(len(rows)) or real(self, rows, *more)
    )
    pretend(monkeypatch)
    noisy = {"label_noise": 0.2, "num_steps": 6, "eval_interval": 3}
    curves = run(joined(5, **noisy))
    assert sizes == [8, 8]  # not eight for each trial
    monkeypatch.undo()
    for i in range(5):
        assert curve(curves[str(i)]) == curve(alone(small(seed=i, **noisy)))


# -- the step itself


class _OnDeviceOnly(Tape):
    """Refuses tensors of the host: each would be copied, and waited for."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(operation, types, args, kwargs)
        places = {str(t.device) for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)}
        assert places <= {"meta"}, f"{operation} makes a tensor of the host"
        return out


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_a_step_makes_no_tensor_on_the_host(options):
    """Device `meta` has tensors without content: nothing can be read from them either."""
    dataset = build_dataset(small(**options))
    shape, meta = shape_of(dataset), torch.device("meta")
    slots, tables = Slots(shape, meta), Tables(shape, meta)
    slots.reserve(4, 50)
    tables.add(dataset)
    # Trials that use these sit in stacks of other shapes: by dropout no two rows are alike, by noise no two tokens.
    apart = {"dropout": shape.batch_sharing.length > 0, "input_noise": shape.batch_sharing.length > 0 or shape.by_token}
    used = [name for name in KERNEL_OPTIONS if not apart.get(name)]
    step = Step(shape, Kernels(shape, meta, used), slots.span(0, 4), tables.all)
    with _OnDeviceOnly() as tape:
        for part in parts_of(shape.accumulation_steps, measured=True):
            step.part(part)()
    assert len(tape.operations) > 100
