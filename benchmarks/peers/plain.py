"""Plain eager PyTorch, done well: one nn.Module and one fused AdamW a trial, the tables on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from peers.case import BETA1, BETA2, EPSILON, Case, Rows, Training, waiting_for
from peers.transformer import by_one_kernel, loss_of, models

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def make(case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None) -> Training:
    return training_of(case, trials, device, rows, loss)


def loss(model: nn.Module, tokens: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
    return loss_of(model(tokens, positions), targets)


def training_of(case: Case, trials: int, device: str, rows: Rows | None, loss: Loss) -> Training:
    """The models take their steps in turn."""
    case = case.to(device)
    steps = [_Step(case, model.to(device), loss) for model in models(case, trials, by_one_kernel)]
    draw = rows or case.rows(trials)

    def call() -> Tensor:
        return torch.stack([step(batch) for step, batch in zip(steps, draw().to(device), strict=True)])

    return Training(call=call, trials=trials, wait=waiting_for(device))


class _Step:
    """One model's training step on given rows (batch,)."""

    def __init__(self, case: Case, model: nn.Module, loss: Loss) -> None:
        self.case, self.model, self.loss, self.done = case, model, loss, 0
        rule = {"betas": (BETA1, BETA2), "eps": EPSILON, "weight_decay": case.weight_decay}
        self.optimizer = torch.optim.AdamW(model.parameters(), fused=True, **rule)

    def __call__(self, rows: Tensor) -> Tensor:
        case = self.case
        self.optimizer.param_groups[0]["lr"] = case.rate(self.done)
        self.done += 1
        self.optimizer.zero_grad()
        loss = self.loss(self.model, case.tokens[rows], case.positions[rows], case.targets[rows])
        loss.backward()
        self.optimizer.step()
        return loss.detach()
