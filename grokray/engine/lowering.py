"""Teaches PyTorch's compiler oneDNN's product of two matrices that are both computed.

By itself it knows the one of a frozen model, whose weights are constants.
"""

from __future__ import annotations

from typing import Any

import torch


def teach_products() -> None:
    """To be called before compiling, in the process that compiles."""
    from torch._inductor import ir
    from torch._inductor.lowering import lowerings, needs_realized_inputs
    from torch._inductor.mkldnn_ir import LinearUnary, _create_output_node

    def lower(x: Any, w: Any, bias: Any, attr: str, scalars: Any, algorithm: str) -> Any:
        x, w = (LinearUnary.realize_input(t) for t in (x, w))
        inputs = [LinearUnary.require_contiguous(x), _dense(LinearUnary, w)]
        constants: list[Any] = [attr, scalars or [-1], algorithm]
        if bias is None:
            constants.insert(0, None)
        else:
            inputs.append(LinearUnary.require_contiguous(LinearUnary.realize_input(bias)))
        size = [x.get_size()[0], w.get_size()[0]]
        layout = ir.FixedLayout(device=x.get_device(), dtype=x.get_dtype(), size=size)
        made = LinearUnary(layout=layout, inputs=inputs, constant_args=constants)
        return ir.TensorBox.create(_create_output_node(made))

    operation = torch.ops.mkldnn._linear_pointwise.default
    needs_realized_inputs.add(operation)
    lowerings[operation] = lower


def _dense(kernel: Any, w: Any) -> Any:
    """See `products._linear`: what the compiler lays out may differ from what was traced."""
    n, k = (int(size) for size in w.get_size())
    strides = [int(stride) for stride in w.get_stride()]
    return w if strides in ([k, 1], [1, n]) else kernel.require_contiguous(w)
