"""The model as one writes it for a single trial: a pre-norm decoder with GELU and a feed-forward of four times the
width."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.case import Case

Attention = Callable[..., Tensor]


def models(case: Case, trials: int, attention: Attention) -> list[nn.Module]:
    """Freshly initialised models on the CPU, each from its own seed."""
    with torch.random.fork_rng(devices=[]):
        return [_seeded(case, seed, attention) for seed in range(trials)]


def _seeded(case: Case, seed: int, attention: Attention) -> nn.Module:
    torch.manual_seed(seed)
    return Transformer(case, attention)


class Decoder(nn.Module):
    """From tokens to logits, by the modules that a subclass makes: of one trial, or of many, with one more dimension in
    front of every shape below."""

    case: Case
    tokens: nn.Module
    positions: nn.Module
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Module
    mask: Tensor

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """tokens (batch, length), positions (batch, answers) -> logits (batch, answers, vocabulary)."""
        x = self.tokens(tokens) + self.positions.weight.unsqueeze(-3)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, x, self.mask)
        if self.case.pruned:
            x = last(x, self._at(x, positions), self._answer_mask(positions))
        else:
            x = self._at(last(x, x, self.mask), positions)
        return self.head(self.norm(x))

    def _at(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (batch, length, width) -> (batch, answers, width)."""
        if self.case.uniform:
            return x[..., -self.case.answers :, :]
        return x.gather(-2, positions[..., None].expand(*positions.shape, x.shape[-1]))

    def _answer_mask(self, positions: Tensor) -> Tensor | None:
        """By row, whatever trial it is of."""
        if self.case.uniform:
            return None if self.case.answers == 1 else self.mask[-self.case.answers :]
        return F.embedding(positions.flatten(0, -2), self.mask)[:, None]


class Transformer(Decoder):
    def __init__(self, case: Case, attention: Attention) -> None:
        super().__init__()
        self.case, d = case, case.width
        self.tokens, self.positions = nn.Embedding(case.vocabulary, d), nn.Embedding(case.length, d)
        self.blocks = nn.ModuleList(Block(d, case.heads, attention) for _ in range(case.layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, case.vocabulary)
        # Rebuilt from the sizes, so it is no part of the state.
        self.register_buffer("mask", torch.full((case.length, case.length), -torch.inf).triu(1), persistent=False)


class Block(nn.Module):
    def __init__(self, d: int, heads: int, attention: Attention) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn1, self.ffn2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias), nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, queried: Tensor, mask: Tensor | None) -> Tensor:
        """x (batch, length, width) is attended to; the positions `queried` (batch, n, width) go on."""
        d, h = x.shape[-1], self.norm1(x)
        if queried is x:
            q, k, v = self.qkv(h).split(d, -1)
        else:
            q = F.linear(self.norm1(queried), self.qkv.weight[:d], self.qkv.bias[:d])
            k, v = F.linear(h, self.qkv.weight[d:], self.qkv.bias[d:]).split(d, -1)
        r = queried + self.out(self.attention(q, k, v, mask, self.heads))
        return r + self.ffn2(F.gelu(self.ffn1(self.norm2(r))))


def by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Attention. q (batch, n, width), k and v (batch, length, width), additive mask (…, n, length) -> as q."""
    q, k, v = _by_head(q, k, v, heads)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return ((scores if mask is None else scores + mask).softmax(-1) @ v).transpose(-2, -3).flatten(-2)


def by_one_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """The same, by a kernel that vmap knows no rule for."""
    q, k, v = _by_head(q, k, v, heads)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(-2, -3).flatten(-2)


def _by_head(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Iterator[Tensor]:
    return (x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (q, k, v))


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over a row's scored answers, then over rows. logits (batch, answers, vocabulary), targets (batch,
    answers)."""
    if targets.shape[-1] == 1:
        return F.cross_entropy(logits[:, 0], targets[:, 0])
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none").view_as(targets)
    return (each.sum(-1) / (targets >= 0).sum(-1)).mean()
