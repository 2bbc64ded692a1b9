"""What is learned: operations, number codes, tables of tokens, splits. torch is loaded when a tensor is first made.

`resolve` is had from `grokray.tasks.resolve`, since the module of that name would hide it here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokray.tasks.codes import NumberCode, Vocabulary, decode_answer, number_code
    from grokray.tasks.dataset import Dataset, build_dataset
    from grokray.tasks.draft import PARAMETERS
    from grokray.tasks.operations import ALIASES, OPERATIONS, Operation, operations_of
    from grokray.tasks.splits import Split, split_rows
    from grokray.tasks.tables import Table, build_table, table_key

__all__ = [
    "ALIASES",
    "OPERATIONS",
    "PARAMETERS",
    "Dataset",
    "NumberCode",
    "Operation",
    "Split",
    "Table",
    "Vocabulary",
    "build_dataset",
    "build_table",
    "decode_answer",
    "number_code",
    "operations_of",
    "split_rows",
    "table_key",
]

_HOMES = {
    "ALIASES": "operations",
    "Dataset": "dataset",
    "NumberCode": "codes",
    "OPERATIONS": "operations",
    "Operation": "operations",
    "PARAMETERS": "draft",
    "Split": "splits",
    "Table": "tables",
    "Vocabulary": "codes",
    "build_dataset": "dataset",
    "build_table": "tables",
    "decode_answer": "codes",
    "number_code": "codes",
    "operations_of": "operations",
    "split_rows": "splits",
    "table_key": "tables",
}


def __getattr__(name: str) -> Any:
    """`from grokray.tasks import build_dataset` loads its module only then (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
