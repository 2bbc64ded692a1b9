"""A model's logits as waves over the right answer, after Nanda et al. 2023 ("Progress measures for grokking via
mechanistic interpretability").

Where the answer is x+y or x−y modulo n, the logits of all pairs with one answer s have a mean. These means are a sum of
waves of frequency k = 0 … n // 2 over s, which is what cos(2πks/n) and sin(2πks/n) explain of the logits; the rest of
them differs among pairs of one answer. Products and quotients modulo a prime p are the same of discrete logarithms:
s is that of the answer, n = p − 1, and pairs with 0 are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from grokray.errors import ConfigError, Problem
from grokray.tasks.dataset import Dataset
from grokray.tasks.primes import is_prime

SUMS, PRODUCTS = ("x+y_mod", "x-y_mod"), ("x*y_mod", "x/y_mod")


class Answers(NamedTuple):
    """`rows` (n,) int64 of the table: all pairs, or those without 0 · `at` (n,) int64 in [0, order): each one's answer
    on the circle, all of them equally often."""

    rows: Tensor
    at: Tensor
    order: int


class Means(NamedTuple):
    """`of_answer` (order, vocabulary_size) float64: the mean logits of the pairs of each answer. Summed over all
    pairs and the vocabulary are `variance`, the squares of their differences from each token's mean, and `squares`,
    their own.
    """

    of_answer: Tensor
    variance: float
    squares: float


class Sums:
    """Of the logits of all pairs, so many at a time as there is memory for."""

    def __init__(self, order: int) -> None:
        self._order, self._pairs = order, 0
        self._squares, self._differences = 0.0, 0.0

    def add(self, at: Tensor, logits: Tensor) -> None:
        """at (n,) int64, the answers on the circle; logits (n, vocabulary_size) float64."""
        if not self._pairs:  # what all pairs share is taken off, so that no large number hides a small difference
            self._shared = logits[0]
            self._sums = logits.new_zeros(self._order, len(self._shared))
        rest = logits - self._shared
        self._sums.index_add_(0, at, rest)
        self._pairs += len(at)
        self._squares += logits.square().sum().item()
        self._differences += rest.square().sum().item()

    def means(self) -> Means:
        means = self._sums * (self._order / self._pairs)
        variance = self._differences - self._pairs * means.mean(0).square().sum().item()
        return Means(means + self._shared, max(variance, 0.0), self._squares)


def answers_of(dataset: Dataset) -> Answers:
    """ConfigError where the task is none of the four, or not all of its pairs are in domain."""
    config, table = dataset.config, dataset.table
    if config.operation not in SUMS + PRODUCTS or config.task_type != "classification":
        names = ", ".join(SUMS + PRODUCTS)
        _refuse(f"they are of {names} as one token, and the trial learns {config.operation} ({config.task_type})")
    if config.label_noise:
        _refuse(f"label_noise is {config.label_noise:g}, by which training pairs ask for wrong answers, but must be 0")
    modulus, z = config.modulus, table.z
    assert modulus is not None  # these operations have one, and numbers for answers
    assert z is not None
    at, order = z[: table.in_domain], modulus
    rows = torch.arange(table.in_domain)
    if config.operation in PRODUCTS:
        if modulus < 3 or not is_prime(modulus):
            _refuse(f"products have logarithms modulo a prime from 3 on, and modulus is {modulus}")
        kept = at > 0
        rows, at, order = rows[kept], logarithms(modulus)[at[kept]], modulus - 1
    if (at.bincount(minlength=order) != order).any():
        _refuse(f"they need all pairs: operand_limit is {config.operand_limit}, but must be the modulus, {modulus}")
    return Answers(rows, at, order)


def logarithms(p: int) -> Tensor:
    """(p,) int64: the discrete logarithm of each residue modulo the prime p, to its smallest primitive root; −1 of 0.

    Modulo 5, to 2: 1, 2, 4, 3 have 0, 1, 2, 3.
    """
    for root in range(1, p):
        powers, value = [1], root
        while value != 1 and len(powers) < p:
            powers.append(value)
            value = value * root % p
        if len(powers) == p - 1:
            out = torch.full((p,), -1)
            out[torch.tensor(powers)] = torch.arange(p - 1)
            return out
    raise ValueError(f"{p} is no prime")


def powers_of(of_answer: Tensor) -> Tensor:
    """(order, vocabulary_size) float64, mean logits of each answer -> (order // 2 + 1,): the sum of squares, over all
    pairs and the vocabulary, that each frequency explains. Frequency 0 is the mean of each token, which explains no
    difference, and has 0."""
    spectrum = torch.fft.rfft(of_answer, dim=0)
    squares = (spectrum.real.square() + spectrum.imag.square()).sum(1)
    twice = torch.full_like(squares, 2)
    twice[0] = 0
    if len(of_answer) % 2 == 0:
        twice[-1] = 1  # it is its own mirror image
    return squares * twice  # over `order` pairs of each answer, and by Parseval over its order


def key_frequencies(powers: Tensor, share: float) -> tuple[int, ...]:
    """The fewest that explain so much of what all explain, rising. Of powers 0, 6, 1, 3 for 0.9: 1 and 3. Empty where
    nothing is explained, or powers are no numbers."""
    order = powers[1:].argsort(descending=True, stable=True)
    sums = powers[1:][order].cumsum(0)
    if not sums[-1] > 0 or not sums[-1].isfinite():
        return ()
    most = int((sums < share * sums[-1]).sum())
    return tuple(sorted((order[: most + 1] + 1).tolist()))


def waves_of(of_answer: Tensor, frequencies: Sequence[int]) -> Tensor:
    """(order, vocabulary_size), mean logits of each answer -> what waves of these frequencies, none of them 0, make of
    them: the same for all pairs of an answer."""
    spectrum = torch.fft.rfft(of_answer, dim=0)
    kept = torch.zeros_like(spectrum)
    kept[list(frequencies)] = spectrum[list(frequencies)]
    return torch.fft.irfft(kept, n=len(of_answer), dim=0)


def _refuse(why: str) -> NoReturn:
    raise ConfigError([Problem(message=f"there are no progress measures: {why}")])
