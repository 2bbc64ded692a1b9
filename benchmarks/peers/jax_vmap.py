"""JAX: jit of a scan over steps, vmap over models, buffers donated. The file is importable without JAX.

On a CPU XLA takes as many threads as the process may run on when JAX is first used: `harness.pin` sees to it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from peers.case import BETA1, BETA2, EPSILON, WARMUP_START, Case, Rows, Training
from peers.transformer import by_products, models

STEPS = 20  # of one call


def make(case: Case, trials: int, *, device: str = "cpu", rows: Rows | None = None, steps: int = STEPS) -> Training:
    import jax
    import jax.numpy as jnp

    at = jax.devices("gpu" if torch.device(device).type == "cuda" else "cpu")[0]
    case_arrays = {name: getattr(case, name).numpy().astype(np.int32) for name in ("tokens", "positions", "targets")}
    put = partial(jax.device_put, device=at)
    table, train = put(case_arrays), put(case.train.numpy().astype(np.int32))
    parameters = put(_stacked(case, trials))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = put((parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.int32)))

    gradient = jax.vmap(jax.value_and_grad(partial(_loss, case)))

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        parameters, moment1, moment2, done = state
        losses, grads = gradient(parameters, jax.tree.map(lambda array: array[batch], table))
        return (*_adamw(case, parameters, grads, moment1, moment2, done), done + 1), losses

    @partial(jax.jit, donate_argnums=0)
    def scan(state: Any, batches: Any) -> tuple[Any, Any]:
        state, losses = jax.lax.scan(step, state, batches)
        return state, losses[-1]

    @jax.jit
    def draw(call: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(0), call)
        return train[jax.random.randint(key, (steps, trials, case.batch), 0, len(train))]

    calls, losses = 0, jnp.zeros(trials)

    def call() -> Any:
        nonlocal state, calls, losses
        given = None if rows is None else np.stack([rows().cpu().numpy() for _ in range(steps)]).astype(np.int32)
        state, losses = scan(state, put(given) if rows else draw(calls))
        calls += 1
        return losses

    return Training(call=call, trials=trials, steps=steps, wait=lambda: losses.block_until_ready())


def _stacked(case: Case, trials: int) -> dict[str, np.ndarray]:
    """The initial weights by name (trials, …), those of linear layers (trials, in, out)."""
    copies = models(case, trials, by_products)
    linear = {f"{n}.weight" for n, module in copies[0].named_modules() if isinstance(module, torch.nn.Linear)}
    states = [model.state_dict() for model in copies]
    return {
        name: np.stack([(state[name].T if name in linear else state[name]).numpy() for state in states])
        for name in states[0]
    }


def _loss(case: Case, p: dict[str, Any], batch: dict[str, Any]) -> Any:
    import jax
    import jax.numpy as jnp

    logits = _forward(case, p, batch["tokens"], batch["positions"])
    targets, scored = batch["targets"], batch["targets"] >= 0
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(targets, 0)[..., None], -1)[..., 0]
    return -((chosen * scored).sum(-1) / scored.sum(-1)).mean()


def _forward(case: Case, p: dict[str, Any], tokens: Any, positions: Any) -> Any:
    """One model: tokens (batch, length), positions (batch, answers) -> logits (batch, answers, vocabulary)."""
    import jax.numpy as jnp

    columns = jnp.arange(case.length)
    causal = columns[None] <= columns[:, None]
    x = p["tokens.weight"][tokens] + p["positions.weight"]

    def at(x: Any) -> Any:
        return x[:, -case.answers :] if case.uniform else jnp.take_along_axis(x, positions[..., None], 1)

    for i in range(case.layers - 1):
        x = _block(case, p, f"blocks.{i}", x, x, causal)
    last = f"blocks.{case.layers - 1}"
    if not case.pruned:
        x = at(_block(case, p, last, x, x, causal))
    elif case.uniform:
        x = _block(case, p, last, x, at(x), causal[-case.answers :])
    else:
        x = _block(case, p, last, x, at(x), (columns <= positions[..., None])[:, None])
    return _linear(p, "head", _norm(p, "norm", x))


def _block(case: Case, p: dict[str, Any], name: str, x: Any, queried: Any, visible: Any) -> Any:
    import jax
    import jax.numpy as jnp

    d, h = case.width, _norm(p, f"{name}.norm1", x)
    weight, bias = p[f"{name}.qkv.weight"], p[f"{name}.qkv.bias"]
    if queried is x:
        q, k, v = jnp.split(_affine(h, weight, bias), 3, -1)
    else:
        q = _affine(_norm(p, f"{name}.norm1", queried), weight[:, :d], bias[:d])
        k, v = jnp.split(_affine(h, weight[:, d:], bias[d:]), 2, -1)
    r = queried + _linear(p, f"{name}.out", _attend(q, k, v, visible, case.heads))
    return r + _linear(p, f"{name}.ffn2", jax.nn.gelu(_linear(p, f"{name}.ffn1", _norm(p, f"{name}.norm2", r)), False))


def _attend(q: Any, k: Any, v: Any, visible: Any, heads: int) -> Any:
    import jax
    import jax.numpy as jnp

    q, k, v = (x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2) for x in (q, k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2)
    mixed = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf)) @ v
    return mixed.swapaxes(1, 2).reshape(mixed.shape[0], mixed.shape[2], -1)


def _linear(p: dict[str, Any], name: str, x: Any) -> Any:
    return _affine(x, p[f"{name}.weight"], p[f"{name}.bias"])


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    # XLA's product of two matrices is faster than that of a stack with a matrix.
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], -1) + bias


def _norm(p: dict[str, Any], name: str, x: Any) -> Any:
    import jax

    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def _adamw(case: Case, parameters: Any, grads: Any, moment1: Any, moment2: Any, done: Any) -> tuple[Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    warm = WARMUP_START + (1 - WARMUP_START) * jnp.minimum(done / max(case.warmup_steps, 1), 1)
    rate = case.learning_rate * (warm if case.warmup_steps else 1.0)
    size, root = rate / (1 - BETA1 ** (done + 1)), jnp.sqrt(1 - BETA2 ** (done + 1))
    moment1 = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, moment1, grads)
    moment2 = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, moment2, grads)

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p * (1 - rate * case.weight_decay) - size * m / (jnp.sqrt(v) / root + EPSILON)

    return jax.tree.map(moved, parameters, moment1, moment2), moment1, moment2
