"""Trial-steps per CPU-second of stacked trials, eager, against a plain torch.nn loop of the same model.

`python benchmarks/engine.py [SECONDS]` measures each case for so many CPU-seconds, 4 by default, on one thread. The
model has 2 pre-norm layers and 4 heads and learns x/y mod 97; evaluation is not part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time

import torch
from torch import Tensor, nn

from grokray.engine.shape import shape_of
from grokray.engine.stack import Seat, Stack
from grokray.events import EventTracker
from grokray.tasks.dataset import Dataset, build_dataset
from grokray.tasks.resolve import resolve

CASES = ({"dim_model": 32, "batch_size": 64}, {"dim_model": 128, "batch_size": 512})
SLOTS = (1, 16, 64)


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    for case in CASES:
        plain = rate(plain_step(build_dataset(resolve(case))), seconds)
        print(f"width {case['dim_model']}, batch {case['batch_size']}, plain torch.nn: {plain:.1f} trial-steps/s")
        for slots in SLOTS:
            fused = slots * rate(stacked_step(case, slots), seconds)
            print(f"  {slots:3} slots: {fused:.1f} trial-steps/s, {fused / plain:.2f} of the plain loop", flush=True)


def rate(step: Callable[[], object], seconds: float) -> float:
    """Calls per CPU-second, after two that are not counted."""
    step(), step()
    start, calls = process_time(), 0
    while (spent := process_time() - start) < seconds:
        step()
        calls += 1
    return calls / spent


def stacked_step(case: dict[str, int], slots: int) -> Callable[[], object]:
    datasets = [build_dataset(resolve({**case, "seed": seed, "eval_interval": 10**9})) for seed in range(slots)]
    stack = Stack(shape_of(datasets[0]), device=torch.device("cpu"))
    for i, dataset in enumerate(datasets):
        stack.join(Seat(trial=str(i), dataset=dataset, tracker=EventTracker()))
    return lambda: stack.advance(1)


def plain_step(dataset: Dataset) -> Callable[[], object]:
    """A training step as one would write it for a single model."""
    config, table = dataset.config, dataset.table
    rows, batches = dataset.split.train, list[Tensor]()
    model = Transformer(dataset.vocabulary_size, dataset.length, config.dim_model, config.num_heads, config.num_layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=9)
    tokens, targets = table.tokens.long(), table.targets[:, 0]

    def step() -> None:
        if not batches:
            batches.extend(rows[torch.randperm(len(rows))].split(config.batch_size))
        batch = batches.pop()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens[batch])[:, -1], targets[batch]).backward()
        optimizer.step()
        schedule.step()

    return step


class Transformer(nn.Module):
    def __init__(self, vocabulary: int, length: int, d: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(Block(d, heads, length) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Block(nn.Module):
    mask: Tensor

    def __init__(self, d: int, heads: int, length: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        return x + self.ffn(self.norm2(x))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
