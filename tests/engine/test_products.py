from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grokray.engine import products
from grokray.engine.build_graphs import compile_library
from grokray.engine.engine import Engine
from grokray.engine.graphs import _Library
from grokray.engine.lowering import teach_products
from grokray.errors import ConfigError
from grokray.tasks.resolve import resolve
from tests.engine.conftest import alone, curve, run

WIDE = {"operation": "x/y_mod", "modulus": 97, "num_steps": 4, "eval_interval": 4}
# Operands of layers, and of one-hot products: rows, in, out. Of the last one columns are fewer than rows.
SIZES = [(2048, 128, 512), (2048, 512, 128), (2048, 128, 99), (512, 64, 64)]


@pytest.fixture
def onednn(monkeypatch):
    monkeypatch.setattr(products, "onednns", lambda: products.ZEN_5)


class Products(TorchDispatchMode):
    """Notes oneDNN's factors, and how many times PyTorch chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.others = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        if "_linear_pointwise" in name:
            self.factors.append((args[0], args[1]))
        self.others += "bmm" in name
        return func(*args, **kwargs or {})


def tensors(rows: int, width: int, out: int, slots: int = 2, dtype: torch.dtype = torch.float32):
    g = torch.Generator().manual_seed(0)
    sizes = ((slots, rows, width), (slots, width, out), (slots, out), (slots, rows, out))
    return [torch.randn(size, generator=g, dtype=torch.float64).to(dtype) for size in sizes]


def value_and_gradients(x, weight, bias, gradient):
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = products.affine(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, gradient)]


@pytest.mark.parametrize("size", SIZES)
def test_onednn_computes_what_pytorch_does(monkeypatch, size):
    given = tensors(*size)
    monkeypatch.setattr(products, "onednns", lambda: None)
    with Products() as before:
        expected = value_and_gradients(*(t.double() for t in given))
    monkeypatch.setattr(products, "onednns", lambda: products.ZEN_5)
    with Products() as seen:
        found = value_and_gradients(*given)
    assert (len(before.factors), before.others) == (0, 3)
    assert (len(seen.factors), seen.others) == (6, 0)  # forward and twice backward, for each slot
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.double(), b, rtol=1e-4, atol=1e-3)


def test_small_products_and_doubles_are_pytorchs(onednn):
    with Products() as seen:
        value_and_gradients(*tensors(64, 32, 128))
        value_and_gradients(*tensors(2048, 128, 512, dtype=torch.float64))
    assert (len(seen.factors), seen.others) == (0, 6)


def test_factors_that_onednn_would_be_slow_with_are_copied(onednn):
    """Keys' and values' columns of a weight that holds queries' too."""
    x, weight, bias, _ = tensors(2048, 128, 384)
    with Products() as seen:
        found = products.affine(x, weight[..., 128:], bias[:, 128:])
        products.bmm(x[..., :64], weight[:, :64])
    assert len(seen.factors) == 4
    assert all(w.is_contiguous() or w.mT.is_contiguous() for _, w in seen.factors)
    assert torch.allclose(found, torch.baddbmm(bias[:, None], x, weight)[..., 128:], rtol=1e-4, atol=1e-3)


def test_of_two_factors_that_must_be_copied_it_is_the_smaller(onednn):
    for rows, width, out in SIZES[:2]:
        x, _, _, gradient = tensors(rows, width, out, slots=1)
        with Products() as seen:
            found = products.bmm(x.mT, gradient)
        ((first, _),) = seen.factors
        assert len(first) == min(width, out)
        assert found.is_contiguous()


@pytest.mark.parametrize("size", SIZES)
def test_bits_are_those_of_one_thread_wherever_memory_is_aligned(onednn, size):
    given = tensors(*size, slots=1)
    before, found = torch.get_num_threads(), []
    try:
        for threads, offset in [(1, 0), (2, 0), (1, 1), (2, 3)]:
            torch.set_num_threads(threads)
            found.append(value_and_gradients(*(moved(t, offset) for t in given)))
    finally:
        torch.set_num_threads(before)
    # The bias's gradient is a sum of PyTorch's, which threads may share.
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other[:3], found[0][:3], strict=True))


def moved(t: torch.Tensor, offset: int) -> torch.Tensor:
    memory = torch.empty(t.numel() + offset)
    return memory[offset:].view(t.shape).copy_(t)


def test_trials_are_the_same_alone_and_in_company(onednn):
    configs = [resolve({**WIDE, "seed": seed}) for seed in range(3)]
    engine = Engine()
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    with Products() as seen:
        together = run(engine)
    assert len(seen.factors) > 100
    for i, config in enumerate(configs):
        assert curve(together[str(i)]) == curve(alone(config))


@pytest.mark.filterwarnings("ignore")  # of the compiler about itself
def test_compiled_products_are_onednns(onednn, tmp_path):
    """Forward and backward, of some columns of a weight too: to the bit what they are eagerly."""

    def function(x, weight, bias, gradient):
        y, back = torch.func.vjp(lambda *t: products.affine(t[0], t[1][..., 128:], t[2]), x, weight, bias)
        return [y, *back(gradient)]

    x, weight, _, _ = tensors(1024, 128, 384)
    _, _, bias, gradient = tensors(1024, 128, 256)
    path = tmp_path / "affine.so"
    teach_products()
    compile_library(function, (x, weight, bias, gradient), path)
    compiled = path.read_bytes()
    assert b"aoti_torch_cpu__linear_pointwise" in compiled
    assert b"bmm" not in compiled
    found, expected = _Library(path)(x, weight, bias, gradient), function(x, weight, bias, gradient)
    assert all(torch.equal(a, b) for a, b in zip(found[:3], expected[:3], strict=True))
    assert torch.allclose(found[3], expected[3], rtol=1e-4, atol=1e-3)


def test_on_zen_4_only_the_large_products_that_copy_nothing_are_onednns(monkeypatch):
    monkeypatch.setattr(products, "onednns", lambda: products.ZEN_4)
    with Products() as seen:
        value_and_gradients(*tensors(2048, 128, 512))  # the gradient of the weight copies
        value_and_gradients(*tensors(512, 64, 64))
    assert all(x.is_contiguous() for x, _ in seen.factors)
    assert (len(seen.factors), seen.others) == (4, 1 + 3)


ZEN_4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t: 17\n"
ZEN_5 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t: 2\n"
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t: 85\n"
WINDOWS = "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD"


@pytest.mark.parametrize(
    ("variable", "instructions", "processor", "expected"),
    [
        ("", "AVX512", ZEN_5, products.ZEN_5),
        ("", "AVX512", ZEN_4, products.ZEN_4),
        ("", "AVX512", WINDOWS, products.ZEN_4),
        ("", "AVX512", "AuthenticAMD", products.ZEN_5),
        ("", "AVX512", INTEL, None),
        ("", "AVX2", ZEN_5, None),
        ("0", "AVX512", ZEN_5, None),
        ("1", "AVX512", ZEN_4, products.ZEN_5),
        ("1", "AVX2", INTEL, products.ZEN_5),
    ],
)
def test_the_processor_decides(monkeypatch, variable, instructions, processor, expected):
    monkeypatch.setenv(products.ONEDNN, variable)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    monkeypatch.setattr(products, "_processor", lambda: processor)
    products.onednns.cache_clear()
    try:
        assert products.onednns() == expected
    finally:
        products.onednns.cache_clear()


def test_a_variable_that_is_neither_0_nor_1_is_refused(monkeypatch):
    monkeypatch.setenv(products.ONEDNN, "yes")
    products.onednns.cache_clear()
    with pytest.raises(ConfigError, match=r"^GROKRAY_ONEDNN is 'yes', but must be 0 or 1$"):
        products.onednns()
    products.onednns.cache_clear()
