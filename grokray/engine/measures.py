"""What can be measured along the curve besides losses and accuracies; `grokray.trial.MEASURES` has the names.

weight_norm     L2 norm of all parameters
gradient_norm   L2 norm of the last step's gradient of the loss, the mean over its batches, before noise and filter
update_norm     L2 norm of the last step's change of all parameters, decay included
gradient_alignment
                cosine of the angle between that gradient, turned round, and all parameters as they were before the step
                (Prieto et al. 2025, "Grokking at the Edge of Numerical Stability"): 1 where descent would do nothing
                but make all parameters larger, which they call naïve loss minimization; 0 where it would leave their
                norm as it is
logit_scale     root mean square, over held-out answer tokens and the vocabulary, of the logits less their mean over the
                vocabulary: what softmax sees of them
embedding_rank  effective rank of the token embedding (Roy and Vetterli 2007, "The effective rank: a measure of
                effective dimensionality"): e to the entropy of its singular values, as shares of their sum. As many
                as there are tokens, or as the width if that is less, where tokens lie in all directions alike; a
                circuit of few frequencies needs two directions for each
fourier_gini    Gini coefficient of the power spectrum of the token embedding over the residues 0 … p − 1 (Nanda et al.
                2023, "Progress measures for grokking via mechanistic interpretability"): 0 where all frequencies are
                equally strong, near 1 where a few hold all power. Classification modulo p only
softmax_collapse
                share of the answer tokens of the measured training rows whose loss is exactly 0 in the trial's own
                arithmetic (Prieto et al. 2025, "Grokking at the Edge of Numerical Stability"): added to the right
                token's exponential those of all others are rounded away, and the right token's logit has no gradient
                any more. Of the loss that is trained, from logits in the trial's precision and dtype
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from grokray.engine.shape import ShapeKey
from grokray.engine.sums import norms
from grokray.tasks.dataset import Dataset

OF_THE_STEP = ("gradient_norm", "update_norm", "gradient_alignment")
OF_THE_ROWS = ("logit_scale", "softmax_collapse")  # an evaluation adds them up as it adds up losses


def of_parameters(shape: ShapeKey, dataset: Dataset, rows: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
    """Those wanted that parameter rows (slots, row_size) alone decide, by name, each (slots,) float64."""
    out = {"weight_norm": norms(rows)} if "weight_norm" in wanted else {}
    if "embedding_rank" in wanted:
        out["embedding_rank"] = effective_rank(shape.layout.views(rows)["token_embedding"])
    tokens = residues(dataset) if "fourier_gini" in wanted else None
    if tokens is not None:
        out["fourier_gini"] = fourier_gini(shape.layout.views(rows)["token_embedding"][:, tokens])
    return out


def residues(dataset: Dataset) -> slice | None:
    """The token ids of 0 … p − 1 in a classification modulo p; None for other tasks."""
    p, vocabulary = dataset.config.modulus, dataset.table.vocabulary
    first = -vocabulary.lowest
    if p is None or dataset.config.task_type != "classification" or first < 0 or first + p > vocabulary.numerals:
        return None
    return slice(first, first + p)


def fourier_gini(embedding: Tensor) -> Tensor:
    """embedding (slots, p, width) to (slots,) float64. The frequencies are 1 … p // 2: the mean does not count, and
    the power of one is summed over sine, cosine and width."""
    waves = torch.fft.rfft(embedding.to(torch.float64).transpose(1, 2).contiguous())  # (slots, width, p // 2 + 1)
    return gini((waves.real.square() + waves.imag.square()).sum(1)[:, 1:])


def effective_rank(matrices: Tensor) -> Tensor:
    """(slots, rows, columns) to (slots,) float64, from 1 on; NaN where a number is not finite. Of a diagonal (1, 1, 0):
    2. Computed by the CPU: a GPU takes longer to decompose small matrices one by one."""
    finite = matrices.isfinite().all((1, 2))
    values = torch.linalg.svdvals(torch.where(finite[:, None, None], matrices, 0).double().cpu())
    shares = values / values.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    ranks = torch.special.entr(shares).sum(1).exp().to(matrices.device)
    return torch.where(finite, ranks, torch.nan)


def gini(x: Tensor) -> Tensor:
    """x (slots, n), none negative, to (slots,): 0 where all are equal, 1 − 1/n where one has all.

    (1, 1, 1, 1) gives 0, (0, 0, 0, 1) gives 0.75.
    """
    n = x.shape[1]
    rank = torch.arange(1, n + 1, dtype=x.dtype, device=x.device)
    return ((2 * rank - n - 1) * x.sort(1).values).sum(1) / (n * x.sum(1))
