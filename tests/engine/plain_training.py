"""A training loop as one would write it for one trial: torch.nn modules, torch.optim, every option spelled out.

It shares with grokray what must be equal to compare at all: the dataset, initial weights, batch order, and the normal
numbers that noise is made of.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grokray.engine.randomness import (
    NOISE_PURPOSE,
    dropout_key,
    epoch_order,
    gaussian,
    initial_parameters,
    stream_of,
    streams_of,
)
from grokray.engine.shape import Layout, shape_of
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig
from tests.engine.reference import Transformer, named, ours

PARTS = ("embeddings", "blocks", "head")
COEFFICIENTS = (3.4445, -4.775, 2.0315)


class PlainTraining:
    """`train` takes steps; `parameters` are under grokray's names; the norms are of the last step."""

    def __init__(self, config: TrialConfig) -> None:
        self.config, self.dataset = config, build_dataset(config)
        self.shape = shape_of(self.dataset)
        self.layout: Layout = self.shape.layout
        d = self.dataset
        size = (d.vocabulary_size, d.length, config.dim_model, config.num_heads, config.num_layers)
        model = Transformer(*size, config.norm, config.activation).to(self.shape.torch_dtype)
        for name, value in initial_parameters(self.shape, config.init_seed).items():
            scale = 1.0 if "norm" in name else config.init_scale
            scale *= config.embedding_scale if "embedding" in name else 1.0
            named(model)[name].data.copy_(ours(name, value) * scale)
        self.model, self.parameters = model, named(model)
        self.optimizer, self.schedule = self._optimizer()
        self.averages: dict[str, Tensor] = {}
        self.momenta = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.step = 0
        self.gradient_norm = self.update_norm = self.gradient_alignment = 0.0

    def train(self, steps: int) -> None:
        for _ in range(steps):
            gradients = self._gradients()
            before = {name: p.detach().clone() for name, p in self.parameters.items()}
            self.gradient_norm = norm(gradients)
            falling = sum(-float((before[name] * gradient).sum()) for name, gradient in gradients.items())
            self.gradient_alignment = falling / (self.gradient_norm * norm(before))
            self._apply(gradients)
            self.update_norm = norm({name: p.detach() - before[name] for name, p in self.parameters.items()})
            self.step += 1

    def _gradients(self) -> dict[str, Tensor]:
        k = self.config.accumulation_steps
        total = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        for j in range(k):
            noise = self._noise("weight_noise", self.layout.row_size, self.step * k + j)
            self._shift(noise, 1)
            loss = self._loss(self.step * k + j)
            found = torch.autograd.grad(loss, list(self.parameters.values()))
            self._shift(noise, -1)
            for name, gradient in zip(total, found, strict=True):
                total[name] += gradient / k
        return total

    def _loss(self, index: int) -> Tensor:
        config, table = self.config, self.dataset.table
        train = self.dataset.split.train
        full = len(train) // config.batch_size
        batches = full if config.drop_last and full else math.ceil(len(train) / config.batch_size)
        order = train[epoch_order(config.order_seed, index // batches, len(train))]
        rows = order.split(config.batch_size)[index % batches]
        tokens = table.tokens[rows].long()
        shape = (config.batch_size, self.dataset.length, config.dim_model)
        noise = self._noise("input_noise", math.prod(shape), index).view(shape)[: len(rows)]
        hook = self.model.blocks[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] + noise,))
        logits = self.model(tokens)
        hook.remove()
        losses = []
        for row, at, targets in zip(logits, table.positions[rows], table.targets[rows], strict=True):
            there = targets >= 0
            losses.append(plain_loss(config.loss, row[at[there]], targets[there]))
        return torch.stack(losses).mean()

    def _apply(self, gradients: dict[str, Tensor]) -> None:
        config = self.config
        noise = self.layout.views(self._noise("gradient_noise", self.layout.row_size, self.step)[None])
        for name, p in self.parameters.items():
            gradient = gradients[name] + ours(name, noise[name][0])
            if config.gradient_filter == "grokfast_ema":
                old = self.averages.get(name, gradient)
                self.averages[name] = config.grokfast_alpha * old + (1 - config.grokfast_alpha) * gradient
                gradient = gradient + config.grokfast_lambda * self.averages[name]
            if config.gradient_filter == "orthograd":
                # Queries, keys and values lie below each other.
                parts = 3 if "qkv" in name else 1
                pairs = zip(p.data.chunk(parts), gradient.chunk(parts), strict=True)
                gradient = torch.cat([plain_orthograd(w, g) for w, g in pairs])
            p.grad = gradient
        if config.optimizer == "muon":
            self._muon()
        if config.optimizer == "sgd":
            for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr(), strict=True):
                for p in group["params"]:
                    p.data *= 1 - rate * self._rates(group["name"])[1]
        self.optimizer.step()
        self.schedule.step()

    def _muon(self) -> None:
        """The hidden matrices; their gradient is taken away from the optimizer that has the rest."""
        rate = self.schedule.get_last_lr()[PARTS.index("blocks")]
        for name, p in self.parameters.items():
            if not name.endswith(("qkv.weight", "out.weight", "ffn1.weight", "ffn2.weight")):
                continue
            gradient, p.grad = p.grad, None
            assert gradient is not None
            momentum = self.momenta[name] = 0.95 * self.momenta[name] + 0.05 * gradient
            direction = 0.05 * gradient + 0.95 * momentum
            # torch keeps (out, in), so queries, keys and values lie below each other.
            parts = [plain_muon_direction(part) for part in direction.chunk(3 if "qkv" in name else 1)]
            p.data = (1 - rate * self.config.weight_decay) * p.data - rate * torch.cat(parts)

    def _noise(self, name: str, elements: int, index: int) -> Tensor:
        key, step = dropout_key(self.config.order_seed)[None], torch.tensor([index], dtype=torch.int32)
        streams = streams_of(NOISE_PURPOSE[name], stream_of(key, step))
        normal = gaussian(elements, self.shape.torch_dtype, streams)[0]
        return normal * getattr(self.config, name)

    def _shift(self, noise: Tensor, sign: int) -> None:
        if self.config.weight_noise:
            for name, value in self.layout.views(noise[None]).items():
                self.parameters[name].data += sign * ours(name, value[0])

    def _optimizer(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        config = self.config
        groups = []
        for part in PARTS:
            rate, decay = self._rates(part)
            parameters = [p for name, p in self.parameters.items() if self._part(name) == part]
            groups.append({"params": parameters, "name": part, "lr": rate, "weight_decay": decay})
        if config.optimizer == "sgd":
            for group in groups:
                group["weight_decay"] = 0.0  # torch's would be in the momentum
            optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=config.beta1)
        else:
            kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
            optimizer = kind(groups, betas=(config.beta1, config.beta2), eps=config.epsilon)
        return optimizer, plain_schedule(config, optimizer)

    def _part(self, name: str) -> str:
        if name in ("token_embedding", "position_embedding"):
            return "embeddings"
        return "head" if name in ("head.weight", "head.bias") else "blocks"

    def _rates(self, part: str) -> tuple[float, float]:
        """Learning rate and weight decay."""
        config = self.config
        rate, decay = config.learning_rate, config.weight_decay
        if part == "embeddings":
            rate = rate if config.embedding_learning_rate is None else config.embedding_learning_rate
            decay = decay if config.embedding_weight_decay is None else config.embedding_weight_decay
        return 0.0 if part in (config.frozen_parts or "") else rate, decay


def plain_schedule(config: TrialConfig, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    warm, end = config.warmup_steps, config.learning_rate_end
    falling = config.num_steps - warm
    rising = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1 if warm else 1.0, total_iters=max(warm, 1))
    if config.learning_rate_schedule == "linear":
        then = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, total_iters=falling)
    elif config.learning_rate_schedule == "cosine":
        then = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, falling, eta_min=end * config.learning_rate)
    else:
        return rising
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, then], [warm]) if warm else then


def plain_loss(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """logits (answers, vocabulary), targets (answers,): the mean over the answer's tokens."""
    if kind == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, targets)
    if kind == "mse":
        return torch.nn.functional.mse_loss(logits, torch.nn.functional.one_hot(targets, logits.shape[1]).to(logits))
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits.clamp(max=0)))
    return -(s.gather(1, targets[:, None])[:, 0] / s.sum(1)).log().mean()


def plain_orthograd(weight: Tensor, gradient: Tensor) -> Tensor:
    rest = gradient - (weight * gradient).sum() / ((weight * weight).sum() + 1e-30) * weight
    return rest * gradient.norm() / (rest.norm() + 1e-30)


def plain_muon_direction(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    out = x / x.norm()
    out = out.T if x.shape[0] > x.shape[1] else out
    for _ in range(5):
        gram = out @ out.T
        out = a * out + (b * gram + c * gram @ gram) @ out
    out = out.T if x.shape[0] > x.shape[1] else out
    return 0.2 * math.sqrt(max(x.shape)) * out


def norm(tensors: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float((t * t).sum()) for t in tensors.values()))
