"""The slow twin of the engine: plain torch.nn modules, one trial, nothing shared with grokray's model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def layer_norm(norm: str, d: int) -> nn.Module:
    return nn.Identity() if norm == "none" else nn.LayerNorm(d)


class Block(nn.Module):
    def __init__(self, d: int, heads: int, norm: str, activation: str = "gelu") -> None:
        super().__init__()
        self.norm = norm
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.norm1, self.norm2 = layer_norm(norm, d), layer_norm(norm, d)
        bend = {"gelu": nn.GELU(), "relu": nn.ReLU()}[activation]
        self.ffn = nn.Sequential(nn.Linear(d, 4 * d), bend, nn.Linear(4 * d, d))

    def attend(self, x: Tensor) -> Tensor:
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf"), dtype=x.dtype).triu(1)
        return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    def forward(self, x: Tensor) -> Tensor:
        if self.norm == "post":
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.ffn(x))
        h = self.norm1(x)
        x = (h if self.norm == "input" else x) + self.attend(h)
        return x + self.ffn(self.norm2(x))


class Transformer(nn.Module):
    def __init__(
        self, vocabulary: int, length: int, d: int, heads: int, layers: int, norm: str, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(Block(d, heads, norm, activation) for _ in range(layers))
        self.final, self.head = layer_norm(norm, d), nn.Linear(d, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.position_embedding(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.final(x))


def named(model: Transformer) -> dict[str, Tensor]:
    """The reference's parameters under grokray's names, as tensors (*shape) with weights stored (in, out)."""
    out = {
        "token_embedding": model.token_embedding.weight,
        "position_embedding": model.position_embedding.weight,
        "head.weight": model.head.weight,
        "head.bias": model.head.bias,
    }
    for i, block in enumerate(model.blocks):
        out |= {
            f"{i}.qkv.weight": block.attention.in_proj_weight,
            f"{i}.qkv.bias": block.attention.in_proj_bias,
            f"{i}.out.weight": block.attention.out_proj.weight,
            f"{i}.out.bias": block.attention.out_proj.bias,
            f"{i}.ffn1.weight": block.ffn[0].weight,
            f"{i}.ffn1.bias": block.ffn[0].bias,
            f"{i}.ffn2.weight": block.ffn[2].weight,
            f"{i}.ffn2.bias": block.ffn[2].bias,
        }
        out |= affine(f"{i}.norm1", block.norm1) | affine(f"{i}.norm2", block.norm2)
    return out | affine("norm", model.final)


def affine(name: str, module: nn.Module) -> dict[str, Tensor]:
    """A layer norm's parameters; nothing where there is none."""
    return {f"{name}.{part}": p for part, p in module.named_parameters()}


def ours(name: str, tensor: Tensor) -> Tensor:
    """torch.nn.Linear keeps (out, in), grokray (in, out); embeddings are the same in both."""
    return tensor.T if tensor.ndim == 2 and "embedding" not in name else tensor
