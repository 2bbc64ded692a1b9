"""A trained model as plain PyTorch modules: to look inside, with hooks, or to take it elsewhere.

The same function as `model.forward`, of one trial, at every position. The engine does not use it: it trains many trials
at once and computes the answers alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grokray.engine.shape import ShapeKey


class Transformer(nn.Module):
    """tokens (rows, length) int -> logits (rows, length, vocabulary_size); those at a position say what comes next.

    `blocks[i].attention.pattern` sees the attention weights (rows, heads, length, length) of block i.
    """

    def __init__(self, shape: ShapeKey, dropout: float = 0.0) -> None:
        super().__init__()
        width = shape.dim_model
        self.token_embedding = nn.Embedding(shape.vocabulary_size, width)
        self.position_embedding = nn.Embedding(shape.length, width)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.num_layers))
        self.norm, self.head = _norm(shape), nn.Linear(width, shape.vocabulary_size)
        self.to(shape.torch_dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token_embedding(tokens.long()) + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Block(nn.Module):
    """Attention and feed-forward, each added to what came in; `norm` places the layer norms, see docs/model.md."""

    def __init__(self, shape: ShapeKey, dropout: float) -> None:
        super().__init__()
        width = shape.dim_model
        self.placement = shape.norm
        self.norm1, self.attention = _norm(shape), Attention(width, shape.num_heads)
        self.norm2, self.ffn1 = _norm(shape), nn.Linear(width, 4 * width)
        self.activation = nn.ReLU() if shape.activation == "relu" else nn.GELU()
        self.ffn2, self.dropout = nn.Linear(4 * width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.placement == "post":
            x = self.norm1(x + self.dropout(self.attention(x)))
            return self.norm2(x + self._feed_forward(x))
        h = self.norm1(x)
        x = (h if self.placement == "input" else x) + self.dropout(self.attention(h))
        return x + self._feed_forward(self.norm2(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.ffn2(self.activation(self.ffn1(x))))


class Attention(nn.Module):
    """Causal. `qkv` gives queries, keys and values, each head after head. `pattern` changes nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out, self.pattern = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        made = self.qkv(x).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = made.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = self.pattern(scores.masked_fill(later, float("-inf")).softmax(-1))
        return self.out((weights @ value).transpose(1, 2).reshape(rows, length, width))


def plain(shape: ShapeKey, parameters: Mapping[str, Tensor], dropout: float = 0.0) -> Transformer:
    """The model of these parameters, each (*shape) with weights (in, out), in evaluation mode; they are copied."""
    model = Transformer(shape, dropout)
    model.load_state_dict({_module_name(name): _as_module(name, value) for name, value in parameters.items()})
    return model.eval()


def _norm(shape: ShapeKey) -> nn.Module:
    return nn.Identity() if shape.norm == "none" else nn.LayerNorm(shape.dim_model)


def _module_name(name: str) -> str:
    """`0.qkv.weight` -> `blocks.0.attention.qkv.weight`"""
    if name.endswith("_embedding"):
        return f"{name}.weight"
    index, _, rest = name.partition(".")
    if not index.isdecimal():
        return name
    return f"blocks.{index}.{'attention.' if rest.startswith(('qkv', 'out')) else ''}{rest}"


def _as_module(name: str, value: Tensor) -> Tensor:
    """torch.nn.Linear keeps weights (out, in)."""
    return value.T if value.ndim == 2 and not name.endswith("_embedding") else value
