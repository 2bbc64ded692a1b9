"""What the recorder of a GPU does around a capture, with CUDA's calls replaced by notes."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from grokray.engine.recorder import WARM_UPS, CudaRecorder, NoRecorder, recorder_for


class Graph:
    made = 0

    def __init__(self) -> None:
        self.number = Graph.made = Graph.made + 1

    def pool(self):
        return f"pool of {self.number}"

    def replay(self) -> None:
        """Tests replay in `replay`."""


@pytest.fixture
def pools(monkeypatch) -> list:
    """The pools that captures were asked to use."""
    given = []

    @contextmanager
    def capture(graph, pool, stream, capture_error_mode):
        assert stream is warmed_up_on
        given.append(pool)
        try:
            yield
        except RuntimeError:
            if pool == "breaks":  # ending the capture fails as well, and hides the first error
                raise RuntimeError("capture ended badly")  # noqa: B904
            raise

    current, warmed_up_on = (SimpleNamespace(wait_stream=lambda other: None) for _ in range(2))
    allocated = iter(range(100, 10_000, 100))
    calls = {
        "device": lambda device: nullcontext(),
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda device: None,
        "memory_allocated": lambda device: next(allocated),
        "max_memory_allocated": lambda device: 5000,
        "Stream": lambda: warmed_up_on,
        "current_stream": lambda: current,
        "set_stream": lambda stream: None,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }
    for name, call in calls.items():
        monkeypatch.setattr(torch.cuda, name, call)
    return given


def counting(t: torch.Tensor, *, fail_at: int = 0, error: Exception | None = None):
    """Adds one; raises the error at the so-manieth call, having added it."""
    calls = []

    def work() -> None:
        t.add_(1)
        calls.append(1)
        if len(calls) == fail_at and error is not None:
            raise error

    return work, calls


def test_which_device_has_which():
    assert isinstance(recorder_for(torch.device("cpu")), NoRecorder)
    assert isinstance(recorder_for(torch.device("cuda")), CudaRecorder)


def test_recording_leaves_everything_as_it_was_and_notes_the_peak(pools):
    t, recorder = torch.zeros(3), CudaRecorder(torch.device("cuda"))
    work, calls = counting(t)
    replay = recorder.record(work, [t])
    assert len(calls) == WARM_UPS + 1
    assert t.tolist() == [1, 1, 1]  # by the capture, which on a GPU computes nothing
    assert recorder.peak_bytes == 4900
    assert replay.__func__ is Graph.replay


def test_graphs_share_a_pool_until_all_are_forgotten(pools):
    t, recorder = torch.zeros(3), CudaRecorder(torch.device("cuda"))
    for _ in range(3):
        recorder.record(counting(t)[0], [t])
    first = pools[1]
    assert pools == [None, first, f"pool of {Graph.made - 1}"]
    recorder.forget()
    recorder.record(counting(t)[0], [t])
    assert pools[-1] is None


def test_what_does_not_fit_is_said_and_changes_nothing(pools):
    t, recorder = torch.zeros(3), CudaRecorder(torch.device("cuda"))
    work, _ = counting(t, fail_at=1, error=torch.OutOfMemoryError("full"))
    with pytest.raises(torch.OutOfMemoryError):
        recorder.record(work, [t])
    assert t.tolist() == [0, 0, 0]
    assert pools == []


@pytest.mark.parametrize("pool", [None, "breaks"])
def test_memory_that_runs_out_in_a_capture_is_said_even_if_the_capture_breaks(pools, pool):
    t, recorder = torch.zeros(3), CudaRecorder(torch.device("cuda"))
    recorder._pool = pool
    work, _ = counting(t, fail_at=WARM_UPS + 1, error=torch.OutOfMemoryError("full"))
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        recorder.record(work, [t])


def test_what_cannot_be_captured_is_done_without_and_said_once(pools, capfd):
    t, recorder = torch.zeros(3), CudaRecorder(torch.device("cuda"))
    work, _ = counting(t, fail_at=WARM_UPS + 1, error=RuntimeError("operation not permitted"))
    assert recorder.record(work, [t]) is work
    assert recorder.record(work, [t]) is work
    assert capfd.readouterr().err.count("could not be recorded as CUDA graphs, operation not permitted") == 1
    assert len(pools) == 1
