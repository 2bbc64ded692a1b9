"""What the model begins with, looked up for each token of a batch.

The embedded tokens, as a rule. But the first layer's queries, keys and values are a function of token and position
alone, and of those there are often fewer than tokens in a batch: of x/y mod 97, 99 tokens at 4 positions against 512
rows. Then the layer computes them once for each token and position, and looks them up. Gradients take the same way
back: they are added up for each token and position, and only the sums pass through the layer. That saves a tenth of
all operations of a step there, and a third where there is no other layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from grokray.engine.embedding import look_up, look_up_gradient
from grokray.engine.layers import linear, linear_part, norm
from grokray.engine.products import is_for_cpu
from grokray.engine.shape import ShapeKey

TOKENS, POSITIONS = "token_embedding", "position_embedding"
LookUps = tuple[Tensor, ...]


def parted(shape: ShapeKey, parameters: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters that tables are made of, and those of the rest of the model: none is in both."""
    names = [TOKENS]
    if shape.by_token:
        names += [POSITIONS, "0.qkv.weight", "0.qkv.bias"]
        names += ["0.norm1.weight", "0.norm1.bias"] if shape.normed_first else []
    rest = {name: p for name, p in parameters.items() if name not in names}
    return {name: parameters[name] for name in names}, rest


def tables_of(shape: ShapeKey, parameters: Mapping[str, Tensor]) -> LookUps:
    """What is looked up: the tokens' embeddings (slots, vocabulary_size, width); or where `shape.by_token`, of each
    position and token what the first layer adds to (slots, positions · vocabulary_size, width), and queries, keys and
    values (slots, positions · vocabulary_size, 3 · width). An only layer's queries are a table of their own, as they
    and what is added to are read at the answers alone: there these two may be of the last positions."""
    tokens = parameters[TOKENS]
    if not shape.by_token:
        return (tokens,)
    x = tokens[:, None] + parameters[POSITIONS][:, :, None]
    h = x if shape.norm == "post" else norm(shape, x, parameters, "0.norm1")
    added_to = h if shape.norm == "input" else x
    if shape.num_layers > 1:
        tables = [added_to, linear(h, parameters, "0.qkv", shape.precision)]
    else:
        asked, d = shape.answers if shape.uniform else shape.length, shape.dim_model
        queries = linear_part(h[:, -asked:], parameters, "0.qkv", shape.precision, slice(d))
        others = linear_part(h, parameters, "0.qkv", shape.precision, slice(d, None))
        tables = [added_to[:, -asked:], queries, others]
    return tuple(table.flatten(1, 2) for table in tables)


def looked_up(shape: ShapeKey, tables: LookUps, tokens: Tensor, before: int = 0) -> LookUps:
    """tokens (slots, batch, n), which stand at position `before` and after -> of each table (slots, batch, n, its
    width), or fewer where it is of the last positions alone."""
    if not shape.by_token:
        return tuple(look_up(table, tokens) for table in tables)
    return tuple(look_up(table, _places(shape, table, tokens, before)) for table in tables)


def _places(shape: ShapeKey, table: Tensor, tokens: Tensor, before: int) -> Tensor:
    """The table's rows for those of the tokens that it covers (slots, batch, as many)."""
    missing = shape.length - table.shape[1] // shape.vocabulary_size
    first, end = max(before, missing), before + tokens.shape[2]
    positions = torch.arange(first, max(first, end), device=tokens.device, dtype=tokens.dtype)
    return tokens[:, :, first - before :] + (positions - missing) * shape.vocabulary_size


def gradients_of(shape: ShapeKey, looked: Sequence[tuple[Sequence[Tensor], Tensor]]) -> LookUps:
    """Those of the tables; `looked` has the gradients of what was looked up, and the tokens that it was looked up for,
    of one position after the other."""
    number = shape.vocabulary_size
    if not shape.by_token:
        found = [look_up_gradient(g, tokens, number) for (g,), tokens in looked]
        return (reduce(torch.add, found),)
    parts = [[_by_position(g, tokens, number) for g in gradients] for gradients, tokens in looked]
    return tuple(torch.cat(of_table, 1) for of_table in zip(*parts, strict=True))


def _by_position(gradient: Tensor, tokens: Tensor, number: int) -> Tensor:
    """gradient (slots, batch, n, width) of what was looked up for the last n of the tokens -> (slots, n · number,
    width)"""
    n = gradient.shape[2]
    tokens = tokens[:, :, tokens.shape[2] - n :]
    if is_for_cpu(gradient):
        places = torch.arange(n, device=tokens.device, dtype=tokens.dtype) * number
        return look_up_gradient(gradient, tokens + places, n * number)
    # One-hot rows for all positions at once would be n times as long.
    columns = [look_up_gradient(gradient[:, :, i], tokens[:, :, i], number) for i in range(n)]
    return torch.cat(columns, 1) if columns else gradient[:, 0]
