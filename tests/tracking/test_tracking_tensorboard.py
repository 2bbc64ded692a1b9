"""TensorBoard's files, read back: TFRecord's framing of protobuf events."""

from __future__ import annotations

import struct
from pathlib import Path
from unittest.mock import Mock

import pytest

from grokray.errors import ConfigError
from grokray.sweep.tracked import TrialFold
from grokray.tracking import tensorboard
from grokray.tracking.base import Point, Settings
from grokray.tracking.make import check, make_trackers
from grokray.tracking.tensorboard import TensorBoardBackend
from tests.tracking.journals import CONFIG, SESSION, end, measurement, show, trial, whole_run

ID = CONFIG.id
STEPS = list(range(100, 1001, 100))


@pytest.fixture(params=["tensorboardX", "tensorboard"])
def library(request, monkeypatch) -> str:
    """Each of the two libraries alone, as far as it is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: name in (request.param, "torch"))
    return request.param


def tracker(folder: Path):
    (made,) = make_trackers(Settings(tensorboard=True), folder, TrialFold, group="tiny", say=print)
    return made


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag → (step, value) of all files of one run, in the order of the files."""
    Event = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed").Event
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        data, offset = path.read_bytes(), 0
        while offset < len(data):
            (length,) = struct.unpack_from("<Q", data, offset)
            event = Event.FromString(data[offset + 12 : offset + 12 + length])
            for value in event.summary.value:
                number = value.simple_value or sum(value.tensor.float_val)
                found.setdefault(value.tag, []).append((event.step, number))
            offset += length + 16
    return found


def test_scalars_of_a_trial(library, tmp_path):
    made = tracker(tmp_path)
    show(made, [SESSION, *whole_run()])
    made.close()
    found = scalars(tmp_path / "tensorboard" / ID)
    assert [step for step, _ in found["exact_match/heldout"]] == STEPS
    assert [value for _, value in found["exact_match/heldout"]] == pytest.approx([step / 1000 for step in STEPS])
    assert {"loss/train", "exact_match/train", "weight_norm", "wall_time_s"} <= found.keys()


def test_a_resumed_trial_repeats_no_step(library, tmp_path):
    first = [trial(), measurement(100), measurement(200)]
    made = tracker(tmp_path)
    show(made, first)
    made.close()
    made = tracker(tmp_path)
    show(made, [*first, measurement(200, attempt=1), measurement(300, attempt=1), end(300)])
    made.close()
    found = scalars(tmp_path / "tensorboard" / ID)
    assert sorted(step for step, _ in found["loss/train"]) == [100, 200, 300]


def test_what_a_killed_session_wrote_and_did_not_close_is_written_anew(library, tmp_path):
    fold, killed = Mock(trial_id=ID), []
    for closes in (True, False, True):  # sessions one after the other
        backend = TensorBoardBackend(tmp_path)
        run, _ = backend.open(fold)
        backend.log(run, [Point(step=100 * (1 + closes + len(killed)), time=1.0, values={"train_loss": 0.5})])
        run.writer.flush()
        if closes:
            backend.leave(run)
        else:
            killed.append(run)
    assert sorted(step for step, _ in scalars(tmp_path / ID)["loss/train"]) == [200, 300]


def test_without_a_library_there_is_an_error_before_anything_starts(monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="neither tensorboardX nor tensorboard is installed") as caught:
        check(Settings(tensorboard=True))
    assert "grokray[tensorboard]" in str(caught.value.hint)
    assert check(Settings()) is None
