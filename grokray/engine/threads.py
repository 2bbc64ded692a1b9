"""How many threads of a CPU share a product of matrices.

MKL, strictly reproducible, rounds a product alike however many there are, but for one that has less than 24 rows and
columns and is not one of several at once: with two threads it takes another kernel (docs/log.md, 2026-11-30). A model
has such where it is narrow, or its batch and its vocabulary are small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from grokray.engine.shape import ShapeKey

FEW = 32  # rows or columns; from 24 on none was seen to differ


def has_small_products(shape: ShapeKey) -> bool:
    """Whether a training step's may depend on the number of threads."""
    rows, answers = shape.batch_size * shape.length, shape.batch_size * shape.answers
    return min(shape.dim_model, rows) < FEW or max(answers, shape.vocabulary_size) < FEW


def with_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which one thread computes."""

    @wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        threads = torch.get_num_threads()
        if threads == 1:
            return function(*args, **kwargs)
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return alone


def of_many_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """`row_sums`, which one thread computes where its tokens (slots, n, length) are few rows."""
    by_one = with_one_thread(function)

    @wraps(function)
    def chosen(rows: torch.Tensor, tokens: torch.Tensor, *more: Any) -> Any:
        return (by_one if tokens.shape[1] < FEW else function)(rows, tokens, *more)

    return chosen
