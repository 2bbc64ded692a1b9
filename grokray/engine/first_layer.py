"""What the model begins with, looked up for each token of a batch.

The embedded tokens, as a rule. But the first layer's queries, keys and values are a function of token and position
alone, and of those there are often fewer than tokens in a batch: of x/y mod 97, 99 tokens at 4 positions against 512
rows. Then the layer computes them once for each token and position, and looks them up. Gradients take the same way
back: they are added up for each token and position, and only the sums pass through the layer. That saves a tenth of
all operations of a step there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from grokray.engine.embedding import look_up, look_up_gradient
from grokray.engine.layers import linear, norm
from grokray.engine.shape import ShapeKey

TOKENS, POSITIONS = "token_embedding", "position_embedding"
Tables = tuple[Tensor, ...]


def parted(shape: ShapeKey, parameters: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters that tables are made of, and those of the rest of the model: none is in both."""
    names = [TOKENS]
    if shape.by_token:
        names += [POSITIONS, "0.qkv.weight", "0.qkv.bias"]
        names += ["0.norm1.weight", "0.norm1.bias"] if shape.normed_first else []
    rest = {name: p for name, p in parameters.items() if name not in names}
    return {name: parameters[name] for name in names}, rest


def tables_of(shape: ShapeKey, parameters: Mapping[str, Tensor]) -> Tables:
    """What is looked up: the tokens' embeddings (slots, vocabulary_size, width); or where `shape.by_token`, of each
    position and token what the first layer adds to (slots, length · vocabulary_size, width), and queries, keys and
    values (slots, length · vocabulary_size, 3 · width)."""
    tokens = parameters[TOKENS]
    if not shape.by_token:
        return (tokens,)
    x = tokens[:, None] + parameters[POSITIONS][:, :, None]
    h = x if shape.norm == "post" else norm(shape, x, parameters, "0.norm1")
    made = linear(h, parameters, "0.qkv", shape.precision)
    return (h if shape.norm == "input" else x).flatten(1, 2), made.flatten(1, 2)


def looked_up(shape: ShapeKey, tables: Tables, tokens: Tensor, before: int = 0) -> Tables:
    """tokens (slots, batch, n), which stand at position `before` and after -> of each table (slots, batch, n, its
    width)"""
    if shape.by_token:
        places = torch.arange(before, before + tokens.shape[2], device=tokens.device, dtype=tokens.dtype)
        tokens = tokens + places * shape.vocabulary_size
    return tuple(look_up(table, tokens) for table in tables)


def gradients_of(shape: ShapeKey, looked: Sequence[tuple[Sequence[Tensor], Tensor]]) -> Tables:
    """Those of the tables; `looked` has the gradients of what was looked up, and the tokens that it was looked up for,
    of one position after the other."""
    number = shape.vocabulary_size
    if not shape.by_token:
        found = [look_up_gradient(g, tokens, number) for (g,), tokens in looked]
        return (reduce(torch.add, found),)
    columns = [
        [look_up_gradient(g[:, :, i], tokens[:, :, i], number) for g in gradients]
        for gradients, tokens in looked
        for i in range(tokens.shape[2])
    ]
    return tuple(torch.cat(of_table, 1) for of_table in zip(*columns, strict=True))
