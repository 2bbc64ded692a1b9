"""A GPU made of a CPU, to test what the engine asks of a GPU where there is none.

Its tensors say that they are elsewhere, and hold a tensor of the CPU, which computes. What would fail on a GPU fails
here: an operation on tensors of two devices, a wait of the host where it must not wait, and either of them, or any
copy from the host, in a graph that is being captured. A captured graph is a list of operations on the very memory that
they were captured on. What a GPU computes and how fast it cannot tell, nor compile for one.

It is a plugin, `pytest -p tests.engine.pretended_gpu`, that stands in for `cuda` in a whole run. That run needs a
process of its own (see test_pretended_gpu): PyTorch takes no device back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from grokray.engine.engine import Engine
from tests.engine.recorded import run_again

aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
READS = (
    *(aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default),
    *(aten.nonzero.default, aten.masked_select.default),
)
CPU = torch.device("cpu")
NAMES = ("cuda", "pretended")
BYTES = 1 << 34


class Gpu:
    """What the one device is at. `mode` is that of torch.cuda.set_sync_debug_mode."""

    def __init__(self) -> None:
        self.mode = "default"
        self.graph: Graph | None = None
        self.pinned: set[int] = set()  # where page-locked memory of the host begins

    def wait(self, reason: object) -> None:
        """The host waits for the GPU."""
        if self.graph is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {reason}")
        if self.mode == "error":
            raise RuntimeError(f"called a synchronizing CUDA operation: {reason}")


GPU = Gpu()


class Elsewhere(Tensor):
    """`inner` is the tensor of the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "layout": inner.layout}
        device = torch.device("pretended", 0)
        self = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, device=device, **layout)
        self.inner = inner
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return operate(operation, args, kwargs or {})

    def tolist(self) -> list:
        GPU.wait("tolist")
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"


class Operations(TorchDispatchMode):
    """Sees those too that make a tensor from none."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return operate(operation, args, kwargs or {})


def operate(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    given = kwargs.get("device")
    asked = None if given is None else torch.device(given)
    if not any(isinstance(t, Elsewhere) for t in tensors) and (asked is None or asked.type not in NAMES):
        return _on_the_host(operation, args, kwargs)
    elsewhere = _result_is_elsewhere(operation, args, asked)
    if operation in COPIES:
        _check_copy(args[-1] if operation is aten.copy_.default else args[0], elsewhere, kwargs)
    else:
        _check_devices(operation, args, tensors)
    if operation in READS:
        GPU.wait(operation)
    changed = {"device": CPU} if asked is not None else {}
    return _compute(operation, args, {**kwargs, **changed}, elsewhere)


def _on_the_host(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    pinned = kwargs.get("pin_memory")
    out = operation(*args, **{**kwargs, **({"pin_memory": False} if pinned else {})})
    if pinned:
        GPU.pinned.add(out.untyped_storage().data_ptr())
    return out


def _result_is_elsewhere(operation: Any, args: tuple, asked: torch.device | None) -> bool:
    if asked is not None:
        return asked.type in NAMES
    return isinstance(args[0], Elsewhere) if operation in COPIES else True


def _check_copy(source: Tensor, elsewhere: bool, kwargs: dict[str, Any]) -> None:
    if isinstance(source, Elsewhere) == elsewhere:
        return
    at_once = not source.dim() and elsewhere  # a number travels with the launch
    if not at_once and not (kwargs.get("non_blocking") and source.untyped_storage().data_ptr() in GPU.pinned):
        GPU.wait("copy")
    if GPU.graph is not None and not at_once:
        raise RuntimeError("a copy from the host is captured with what is there now")


def _check_devices(operation: Any, args: tuple, tensors: list[Tensor]) -> None:
    """Numbers may be the host's, and so may indices, which are copied and waited for."""
    indices: list[Tensor] = []
    if operation in INDEXED:
        indices = [t for t in args[1] if t is not None]
        if any(t.dtype == torch.bool or not isinstance(t, Elsewhere) for t in indices):
            GPU.wait("index")
    strangers = [t for t in tensors if not isinstance(t, Elsewhere) and t.dim() and not any(t is i for i in indices)]
    if strangers:
        raise RuntimeError(f"Expected all tensors to be on the same device: {operation}, {tuple(strangers[0].shape)}")


def _compute(operation: Any, args: tuple, kwargs: dict[str, Any], elsewhere: bool) -> Any:
    known = {id(t.inner): t for t in tree_leaves((args, kwargs)) if isinstance(t, Elsewhere)}
    plain_args, plain_kwargs = tree_map(_inner, (args, kwargs))
    if GPU.graph is not None:
        GPU.graph.about_to_change(operation, plain_args)
    out = operation(*plain_args, **plain_kwargs)
    if operation is aten._to_copy.default and out is plain_args[0]:
        out = out.clone()
    if GPU.graph is not None:
        GPU.graph.operations.append((operation, plain_args, plain_kwargs, out))

    def placed(x: Any) -> Any:
        if not elsewhere or not isinstance(x, Tensor):
            return x
        return known[id(x)] if id(x) in known else Elsewhere(x)

    return tree_map(placed, out)


def _inner(x: Any) -> Any:
    return x.inner if isinstance(x, Elsewhere) else x


class Graph:
    """As torch.cuda.CUDAGraph: capturing does nothing, so what was changed meanwhile is put back."""

    def __init__(self) -> None:
        self.operations: list[tuple] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def pool(self) -> int:
        return 1

    def about_to_change(self, operation: Any, args: tuple) -> None:
        for given, value in zip(operation._schema.arguments, args, strict=False):
            if given.alias_info is not None and given.alias_info.is_write:
                self._before.append((value, value.clone()))

    def end(self) -> None:
        for changed, before in reversed(self._before):
            changed.copy_(before)
        self._before.clear()

    def replay(self) -> None:
        with _disable_current_modes():
            run_again(self.operations)


@contextmanager
def capturing(graph: Graph, **_: Any) -> Iterator[None]:
    GPU.graph = graph
    try:
        yield
    finally:
        GPU.graph = None
        with _disable_current_modes(), torch.no_grad():
            graph.end()


class Stream:
    """And an event: everything is done in order here."""

    def wait_stream(self, other: Stream) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def pytest_configure() -> None:
    """Put the pretended GPU in the place of torch.cuda's for good."""
    _setup_privateuseone_for_python_backend("pretended")
    # Else PyTorch would make a tensor of the device itself before anybody is asked.
    torch._C._set_only_lift_cpu_tensors(True)
    nothing = partial(nullcontext)
    stand_ins: dict[str, Any] = {
        **{name: lambda *_: None for name in ("_lazy_init", "set_stream", "empty_cache", "reset_peak_memory_stats")},
        **{name: lambda *_: 0 for name in ("memory_allocated", "memory_reserved")},
        **{"max_memory_allocated": lambda *_: 1 << 20, "mem_get_info": lambda *_: (BYTES, BYTES)},
        **{"CUDAGraph": Graph, "graph": capturing, "Stream": Stream, "Event": Stream, "current_stream": Stream},
        **{"device": nothing, "stream": nothing, "is_available": lambda: True},
        "set_sync_debug_mode": lambda mode: setattr(GPU, "mode", mode),
    }
    for name, stand_in in stand_ins.items():
        setattr(torch.cuda, name, stand_in)
    begin = Engine.__init__
    # With its number, as PyTorch would ask CUDA itself for that.
    Engine.__init__ = lambda self, device="cpu", **options: begin(  # type: ignore[method-assign]
        self, device="cuda:0" if device == "cuda" else device, **options
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with Operations():
        yield
