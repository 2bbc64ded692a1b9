"""Greedy decoding: the model writes its answer token by token, with nothing but the prompt to read.

Keys and values of what was read before are kept, so that each further token costs one position. Whether a whole answer
is right is known without decoding (see `evaluation`); what a wrong answer looks like is not.

    answers = decode_rows(shape, parameters, table, rows)    # (rows, answers) int64, −1 beyond the end
    right = (answers == table.targets[rows]).all(1)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from grokray.engine.layers import activation
from grokray.engine.precision import matrix_products, product
from grokray.engine.shape import ShapeKey
from grokray.tasks.tables import Table

CHUNK_ELEMENTS = 1 << 20  # of one layer's activations, so that a large table needs little memory

Parameters = Mapping[str, Tensor]


def decode_rows(shape: ShapeKey, parameters: Parameters, table: Table, rows: Tensor) -> Tensor:
    """The answers to some rows of a table, row numbers (rows,): token ids (rows, answers) on the CPU.

    Of `8 + 5 = 13` in base 10 the model reads `8 + 5 =` and may write `1 3 <EOS>`, or `1 4 8`, as long as may be. Where
    there is no `<EOS>`, it writes as many tokens as the right answer has.
    """
    eos = end_token(table)
    targets = table.targets[rows]
    limit = None if eos is not None else (targets >= 0).sum(1)
    return decode(shape, parameters, table.tokens[rows], table.positions[rows, 0], eos=eos, limit=limit)


def end_token(table: Table) -> int | None:
    """The id of `<EOS>` where answers end with it, else None."""
    eos = table.vocabulary.eos
    return eos if eos is not None and bool((table.targets == eos).any()) else None


@torch.no_grad()
def decode(
    shape: ShapeKey,
    parameters: Parameters,
    tokens: Tensor,
    starts: Tensor,
    *,
    eos: int | None = None,
    limit: Tensor | None = None,
) -> Tensor:
    """Greedy answers of one trial's model, token ids (rows, shape.answers) int64 on the CPU, −1 beyond the end.

    `parameters` by name, each (*shape) as `shape.layout` has them, on any device. tokens (rows, length): a prompt from
    column 0 to column `starts` (rows,), the one whose output is the first answer token; what follows is not read. An
    answer ends with `eos`, after `limit` (rows,) tokens, or at the model's last position.
    """
    device = parameters["head.bias"].device
    chunk = max(1, CHUNK_ELEMENTS // (shape.length * shape.dim_model))
    limit = torch.full_like(starts, shape.answers) if limit is None else limit
    with matrix_products(shape.precision, device):
        pieces = [
            _Decoder(shape, parameters, piece.to(device), first.to(device)).run(eos, most.to(device)).cpu()
            for piece, first, most in zip(tokens.split(chunk), starts.split(chunk), limit.split(chunk), strict=True)
            if len(piece)
        ]
    return torch.cat(pieces) if pieces else torch.empty(0, shape.answers, dtype=torch.int64)


class _Decoder:
    """Some rows at once. `keys` and `values` (layers, rows, length, heads, width of a head) hold what was read."""

    def __init__(self, shape: ShapeKey, parameters: Parameters, tokens: Tensor, starts: Tensor) -> None:
        self.shape, self.p, self.tokens, self.starts = shape, parameters, tokens.long(), starts.long()
        heads = (shape.num_heads, shape.dim_model // shape.num_heads)
        room = (2, shape.num_layers, len(tokens), shape.length, *heads)
        self.keys, self.values = torch.zeros(room, dtype=shape.torch_dtype, device=tokens.device)
        self.row = torch.arange(len(tokens), device=tokens.device)[:, None]

    def run(self, eos: int | None, limit: Tensor) -> Tensor:
        answers = torch.full((len(self.starts), self.shape.answers), -1, device=self.starts.device)
        prompt = torch.arange(int(self.starts.max()) + 1, device=self.starts.device)
        hidden = self._read(self.tokens[:, : len(prompt)], prompt.expand(len(self.starts), -1))
        hidden = hidden[self.row[:, 0], self.starts]
        writing = limit > 0
        for n in range(self.shape.answers):
            chosen = self._logits(hidden).argmax(-1)
            answers[:, n] = torch.where(writing, chosen, -1)
            column = self.starts + n + 1
            writing = writing & (n + 1 < limit) & (column < self.shape.length)
            writing = writing if eos is None else writing & (chosen != eos)
            if n + 1 == self.shape.answers or not writing.any():
                break
            # A row that has ended reads on in its last column, where nobody looks.
            hidden = self._read(chosen[:, None], column.clamp(max=self.shape.length - 1)[:, None])[:, 0]
        return answers

    def _read(self, tokens: Tensor, columns: Tensor) -> Tensor:
        """Tokens (rows, n) at these columns (rows, n): hidden states (rows, n, width), before the last norm."""
        x = self.p["token_embedding"][tokens] + self.p["position_embedding"][columns]
        for i in range(self.shape.num_layers):
            x = self._layer(i, x, columns)
        return x

    def _layer(self, i: int, x: Tensor, columns: Tensor) -> Tensor:
        if self.shape.norm == "post":
            r = self._norm(f"{i}.norm1", x + self._attention(i, x, columns))
            return self._norm(f"{i}.norm2", r + self._ffn(i, r))
        h = self._norm(f"{i}.norm1", x)
        r = (h if self.shape.norm == "input" else x) + self._attention(i, h, columns)
        return r + self._ffn(i, self._norm(f"{i}.norm2", r))

    def _attention(self, i: int, h: Tensor, columns: Tensor) -> Tensor:
        rows, n, width = h.shape
        query, key, value = self._linear(f"{i}.qkv", h).view(rows, n, 3, self.shape.num_heads, -1).unbind(2)
        self.keys[i][self.row, columns], self.values[i][self.row, columns] = key, value
        reach = int(columns.max()) + 1
        keys, values = self.keys[i][:, :reach], self.values[i][:, :reach]
        scale, precision = query.shape[-1] ** -0.5, self.shape.precision
        if precision == "bf16":  # as `model` does, which rounds the scaled queries
            scores = product(precision, partial(torch.einsum, "rnhe,rche->rhnc"), query * scale, keys)
        else:
            scores = torch.einsum("rnhe,rche->rhnc", query, keys) * scale
        later = torch.arange(reach, device=h.device) > columns[..., None]  # (rows, n, reach)
        weights = scores.masked_fill(later[:, None], float("-inf")).softmax(-1)
        mixed = product(precision, partial(torch.einsum, "rhnc,rche->rnhe"), weights, values)
        return self._linear(f"{i}.out", mixed.reshape(rows, n, width))

    def _ffn(self, i: int, x: Tensor) -> Tensor:
        return self._linear(f"{i}.ffn2", activation(self.shape, self._linear(f"{i}.ffn1", x)))

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._linear("head", self._norm("norm", hidden))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if self.shape.norm == "none":
            return x
        return F.layer_norm(x, x.shape[-1:], self.p[f"{name}.weight"], self.p[f"{name}.bias"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
        return product(self.shape.precision, torch.matmul, x, weight) + bias
