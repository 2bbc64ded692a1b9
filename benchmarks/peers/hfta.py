"""Horizontally fused operators, the idea of HFTA (Wang et al., MLSys 2021): each layer is one module of all trials.

A linear layer is one `baddbmm`, an embedding one table with an offset a trial, a layer norm one without weights and
one multiplication. Autograd runs over the modules' parameters, and one optimiser holds all trials. One learning rate
for all lets it be PyTorch's fused AdamW, which is faster than an optimiser with one for each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.case import BETA1, BETA2, EPSILON, Case, Rows, Training, waiting_for
from peers.transformer import Decoder, by_products, models


def make(case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None) -> Training:
    case = case.to(device)
    model = Transformers(case, trials)
    model.take([m.state_dict() for m in models(case, trials, by_products)])
    model.to(device)
    rule = {"betas": (BETA1, BETA2), "eps": EPSILON, "weight_decay": case.weight_decay}
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **rule)
    draw = rows or case.rows(trials)
    done = 0

    def call() -> Tensor:
        nonlocal done
        optimizer.param_groups[0]["lr"] = case.rate(done)
        done += 1
        batch = draw().to(device)
        optimizer.zero_grad()
        losses = losses_of(model(case.tokens[batch], case.positions[batch]), case.targets[batch])
        losses.sum().backward()
        optimizer.step()
        return losses.detach()

    return Training(call=call, trials=trials, wait=waiting_for(device))


class Transformers(Decoder):
    """As `transformer.Transformer`, every tensor with a leading dimension of trials."""

    def __init__(self, case: Case, trials: int) -> None:
        super().__init__()
        self.case, d = case, case.width
        self.tokens, self.positions = Embedding(trials, case.vocabulary, d), Embedding(trials, case.length, d)
        self.blocks = nn.ModuleList(Block(trials, d, case.heads) for _ in range(case.layers))
        self.norm, self.head = LayerNorm(trials, d), Linear(trials, d, case.vocabulary)
        self.register_buffer("mask", torch.full((case.length, case.length), -torch.inf).triu(1), persistent=False)

    @torch.no_grad()
    def take(self, states: list[dict[str, Tensor]]) -> None:
        """The weights of single models; a linear layer's lie transposed here."""
        linear = {f"{name}.weight" for name, module in self.named_modules() if isinstance(module, Linear)}
        for name, parameter in self.named_parameters():
            stacked = torch.stack([state[name] for state in states])
            parameter.copy_(stacked.transpose(1, 2) if name in linear else stacked)


class Block(nn.Module):
    def __init__(self, trials: int, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = Linear(trials, d, 3 * d), Linear(trials, d, d)
        self.norm1, self.norm2 = LayerNorm(trials, d), LayerNorm(trials, d)
        self.ffn1, self.ffn2 = Linear(trials, d, 4 * d), Linear(trials, 4 * d, d)

    def forward(self, x: Tensor, queried: Tensor, mask: Tensor | None) -> Tensor:
        d, h = x.shape[-1], self.norm1(x)
        if queried is x:
            q, k, v = self.qkv(h).split(d, -1)
        else:
            q = linear(self.norm1(queried), self.qkv.weight[..., :d], self.qkv.bias[:, :d])
            k, v = linear(h, self.qkv.weight[..., d:], self.qkv.bias[:, d:]).split(d, -1)
        mixed = by_products(*(t.flatten(0, 1) for t in (q, k, v)), mask, self.heads)
        r = queried + self.out(mixed.view_as(queried))
        return r + self.ffn2(F.gelu(self.ffn1(self.norm2(r))))


class Linear(nn.Module):
    def __init__(self, trials: int, width: int, out: int) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(trials, width, out), _parameter(trials, out)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class LayerNorm(nn.Module):
    def __init__(self, trials: int, d: int) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(trials, d), _parameter(trials, d)

    def forward(self, x: Tensor) -> Tensor:
        scaled = F.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.bias[:, None, None], scaled, self.weight[:, None, None])


class Embedding(nn.Module):
    def __init__(self, trials: int, vocabulary: int, d: int) -> None:
        super().__init__()
        self.weight = _parameter(trials, vocabulary, d)

    def forward(self, ids: Tensor) -> Tensor:
        trials, vocabulary, _ = self.weight.shape
        offset = torch.arange(trials, device=ids.device)[:, None, None] * vocabulary
        return F.embedding(ids + offset, self.weight.flatten(0, 1))


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (trials, batch, n, in), weight (trials, in, out), bias (trials, out) -> (trials, batch, n, out)."""
    return torch.baddbmm(bias[:, None], x.flatten(1, 2), weight).unflatten(1, x.shape[1:3])


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """As `transformer.loss_of`, of each trial (trials,)."""
    each = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), ignore_index=-1, reduction="none").view_as(targets)
    return (each.sum(-1) / (targets >= 0).sum(-1)).mean(-1)


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))
