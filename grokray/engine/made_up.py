"""Rows and slots that stand for real ones where kernels are compiled before anybody needs them."""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.engine.model import Batch
from grokray.engine.shape import ShapeKey
from grokray.engine.slots import Slots
from grokray.engine.tables import RowTable


def batch(shape: ShapeKey, width: int) -> Batch:
    """As kernels take it for `width` slots on a CPU."""
    of_rows, (shared, prefixes) = _rows(shape, width, shape.batch_size), shape.batch_sharing
    if not shared:
        return of_rows
    return of_rows._replace(
        tokens=of_rows.tokens[..., shared:].contiguous(),
        positions=None if of_rows.positions is None else of_rows.positions + shared,  # the first that is computed
        prefixes=torch.zeros(width, prefixes, shared, dtype=torch.int32),
        at=torch.zeros(width, shape.batch_size, dtype=torch.int32),
    )


def chunk(shape: ShapeKey, width: int, device: torch.device) -> list[Tensor]:
    """A chunk of an evaluation, as `row_sums` takes it after the parameters."""
    rows, (shared, prefixes) = shape.chunk_rows, shape.sharing
    of_rows = _rows(shape, width, rows)
    tensors = [of_rows.tokens[..., shared:].contiguous(), of_rows.targets]
    tensors += [] if of_rows.positions is None else [of_rows.positions + shared]
    if shared:
        at = torch.zeros(width, rows, dtype=torch.int32)
        tensors += [torch.zeros(width, prefixes, shared, dtype=torch.int32), at]
    return [tensor.to(device) for tensor in tensors]


def _rows(shape: ShapeKey, width: int, rows: int) -> Batch:
    """Whole rows."""

    def zeros(dtype: torch.dtype, *size: int) -> Tensor:
        return torch.zeros(width, rows, *size, dtype=dtype)

    positions = None if shape.uniform else zeros(torch.int64, shape.answers)
    weight = zeros(shape.torch_dtype) + 1
    return Batch(zeros(torch.int32, shape.length), positions, zeros(torch.int64, shape.answers), weight)


def slots(shape: ShapeKey, width: int, device: torch.device) -> Slots:
    """Of trials that train, each on a batch of rows."""
    out = Slots(shape, device)
    out.reserve(width, shape.batch_size)
    out.active.fill_(1)
    out.rows.fill_(shape.batch_size)
    return out


def table(shape: ShapeKey, device: torch.device) -> RowTable:
    """Of one row, which an order of zeros names again and again."""
    row = _rows(shape, 1, 1)
    shared = shape.batch_sharing.length
    positions = None if row.positions is None else (row.positions[0] + shared).to(device)
    task = torch.zeros(1, dtype=torch.uint8, device=device)
    prefix = torch.zeros(1, dtype=torch.int32, device=device) if shared else None
    return RowTable(row.tokens[0].to(device), positions, row.targets[0].to(device), task, prefix)
