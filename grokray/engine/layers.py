"""What a model's layers are made of: a norm, and a linear map of every row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine import products
from grokray.engine.precision import Precision, product
from grokray.engine.shape import ShapeKey

TENSOR_CORE_COLUMNS = 8  # of bfloat16: 16 bytes


def norm(shape: ShapeKey, x: Tensor, p: Mapping[str, Tensor], name: str) -> Tensor:
    """x (slots, batch, n, width) -> the same; x itself in a model without layer norms"""
    if shape.norm == "none":
        return x
    scaled = F.layer_norm(x, x.shape[-1:])
    return torch.addcmul(p[f"{name}.bias"][:, None, None], scaled, p[f"{name}.weight"][:, None, None])


def activation(shape: ShapeKey, x: Tensor) -> Tensor:
    return F.relu(x) if shape.activation == "relu" else F.gelu(x)


def linear(x: Tensor, p: Mapping[str, Tensor], name: str, precision: Precision) -> Tensor:
    return affine(x, p[f"{name}.weight"], p[f"{name}.bias"], precision)


def linear_part(x: Tensor, p: Mapping[str, Tensor], name: str, precision: Precision, columns: slice) -> Tensor:
    """Those columns of what `linear` computes."""
    return affine(x, p[f"{name}.weight"][..., columns], p[f"{name}.bias"][:, columns], precision)


def affine(x: Tensor, weight: Tensor, bias: Tensor, precision: Precision) -> Tensor:
    """x (slots, batch, n, in), weight (slots, in, out), bias (slots, out) -> (slots, batch, n, out)."""
    slots, batch, n, width = x.shape
    rows, out = x.reshape(slots, batch * n, width), weight.shape[-1]
    if precision != "bf16" and x.device.type == "cpu":
        y = products.affine(rows, weight, bias)
    else:
        # A GPU's library would write the bias to all rows first, and read it again while it multiplies.
        y = product(precision, torch.bmm, rows, _padded(weight, precision))[..., :out] + bias[:, None]
    return y.reshape(slots, batch, n, out)


def _padded(weight: Tensor, precision: Precision) -> Tensor:
    """With zeros in further columns, where a GPU's tensor cores cannot be used for as many as there are."""
    missing = -weight.shape[-1] % TENSOR_CORE_COLUMNS
    if precision != "bf16" or weight.device.type == "cpu" or not missing:
        return weight
    return F.pad(weight, (0, missing))
