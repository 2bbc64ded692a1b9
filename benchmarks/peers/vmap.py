"""torch.func: one model's gradient, mapped over stacked parameters; AdamW over the stacked dictionary."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from peers.case import BETA1, BETA2, EPSILON, WARMUP_START, Case, Rows, Training, compiled, waiting_for
from peers.transformer import by_products, loss_of, models


def make(case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None, compile: bool = False) -> Training:
    case = case.to(device)
    copies = [model.to(device) for model in models(case, trials, by_products)]
    parameters, buffers = stack_module_state(copies)
    parameters = {name: p.detach() for name, p in parameters.items()}
    moments = [{name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(2)]
    done = torch.zeros((), device=device)
    draw = rows or case.rows(trials)
    model = copies[0]
    buffers = dict(model.named_buffers())  # the mask, which is the same for all

    def loss(parameters: dict[str, Tensor], tokens: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        return loss_of(functional_call(model, (parameters, buffers), (tokens, positions)), targets)

    gradient = vmap(grad_and_value(loss))

    def step(batch: Tensor) -> Tensor:
        grads, losses = gradient(parameters, case.tokens[batch], case.positions[batch], case.targets[batch])
        adamw(case, parameters, grads, *moments, done)
        return losses

    if compile:
        step = compiled(step)
    return Training(call=lambda: step(draw().to(device)), trials=trials, wait=waiting_for(device))


@torch.no_grad()
def adamw(
    case: Case,
    parameters: dict[str, Tensor],
    grads: dict[str, Tensor],
    moment1: dict[str, Tensor],
    moment2: dict[str, Tensor],
    done: Tensor,
) -> None:
    """In place, all trials at once; `done` () counts the steps before this one."""
    warm = WARMUP_START + (1 - WARMUP_START) * (done / max(case.warmup_steps, 1)).clamp(max=1)
    rate = case.learning_rate * (warm if case.warmup_steps else 1.0)
    done += 1
    size, root = rate / (1 - BETA1**done), (1 - BETA2**done).sqrt()
    p, g, m, v = ([by_name[name] for name in parameters] for by_name in (parameters, grads, moment1, moment2))
    torch._foreach_lerp_(m, g, 1 - BETA1)
    torch._foreach_mul_(v, BETA2)
    torch._foreach_addcmul_(v, g, g, 1 - BETA2)
    divisor = torch._foreach_sqrt(v)
    torch._foreach_div_(divisor, root)
    torch._foreach_add_(divisor, EPSILON)
    torch._foreach_mul_(p, 1 - rate * case.weight_decay)
    update = torch._foreach_div(m, divisor)
    torch._foreach_mul_(update, size)
    torch._foreach_sub_(p, update)
