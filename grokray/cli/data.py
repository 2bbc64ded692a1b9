"""`grokray data`: a task's rows as files for other programs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.train_options import trial_from, with_trial_options
from grokray.cli.usage import whole_number
from grokray.errors import FolderError
from grokray.trial import PARTS
from grokray.wording import count, listed, percent

if TYPE_CHECKING:
    from grokray.records.store import Store
    from grokray.tasks.dataset import Dataset
    from grokray.tasks.tables import Table

EXPORT = "What is written"
# Written first of all: a folder that holds it is an export, and may be written anew.
DESCRIPTION = "dataset.json"
MOST_NAMED = 8


def make_data() -> Callable[..., int]:
    return with_trial_options(_data)


def _data(
    ctx: typer.Context,
    parameters: Mapping[str, Any],
    out: Annotated[str, typer.Option(metavar="DIR", rich_help_panel=EXPORT, help="The folder, or its URI.")],
    examples: Annotated[
        str, typer.Option(metavar="INT", rich_help_panel=EXPORT, help="Rows of each part to print.")
    ] = "3",
) -> int:
    """Write a task's rows as Parquet and JSON. Parameters are those of train; what is no matter of data is ignored."""
    config, shown = trial_from(parameters, "data"), whole_number("--examples", examples, at_least=0)
    from grokray.records.store import Store
    from grokray.tasks.dataset import build_dataset

    store = Store.from_uri(out)
    with store.impatient():
        _refuse_foreign(store)
    dataset = build_dataset(config)
    _write(store, dataset)
    _report(store, dataset, shown)
    return 0


def _refuse_foreign(store: Store) -> None:
    files = store.list()
    if files and not store.exists(DESCRIPTION):
        raise FolderError(
            f"{store} holds {count(len(files), 'file')} already, such as {files[0]}, and is no export of grokray",
            hint="give --out a folder that is empty, or not there yet",
        )


def _write(store: Store, dataset: Dataset) -> None:
    import pyarrow.parquet as pq

    from grokray.tasks.export import arrow_table, token_ids, vocabulary

    store.write_atomic(DESCRIPTION, _json(_description(dataset)))
    store.write_atomic("vocabulary.json", _json(vocabulary(dataset)))
    for part in PARTS:
        rows = getattr(dataset.split, part)
        buffer = io.BytesIO()
        pq.write_table(arrow_table(dataset.table, rows), buffer)
        store.write_atomic(f"{part}.parquet", buffer.getbuffer())
        store.write_atomic(f"{part}.json", json.dumps(token_ids(dataset.table, rows)).encode())


def _description(dataset: Dataset) -> dict[str, Any]:
    from grokray.sweep.versions import versions

    fields = dataset.config.model_dump(exclude_defaults=True)
    return {
        "grokray": versions()["grokray"],
        "config": {"operation": dataset.config.operation, **fields},
        "rows": {part: len(getattr(dataset.split, part)) for part in PARTS},
        "twin_share": dataset.split.twin_share,
        "noisy_rows": [] if dataset.noisy is None else _places(dataset),
    }


def _places(dataset: Dataset) -> list[int]:
    """Where the noisy rows stand in train.parquet and train.json."""
    import torch

    return [] if dataset.noisy is None else torch.isin(dataset.split.train, dataset.noisy).nonzero()[:, 0].tolist()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _report(store: Store, dataset: Dataset, examples: int) -> None:
    split, table = dataset.split, dataset.table
    print(f"{_names(table.task_names)} in {store}")
    for part in PARTS:
        rows = getattr(split, part)
        print(f"\n{part}: {count(len(rows), 'row')}")
        for row in rows[:examples].tolist():
            print(f"  {_shown(table, row)}")
    most = f"at most {dataset.length} read, at most {dataset.answers} answered in a row"
    print(f"\nvocabulary: {count(table.vocabulary.size, 'token')}; {most}")
    if dataset.noisy is not None:
        print(f"noisy answers: {count(len(dataset.noisy), 'row')} of train")
    if split.twin_share is not None:
        print(f"commuted twins: for {percent(split.twin_share)} of heldout's (x, y), (y, x) is in train")


def _names(tasks: Sequence[str]) -> str:
    """`007bbfb7, 017c7c7b, 0520fde7, … (174 tasks)`, and all of a few."""
    if len(tasks) <= MOST_NAMED:
        return ", ".join(tasks)
    return f"{listed(tasks)} ({count(len(tasks), 'task')})"


def _shown(table: Table, row: int) -> str:
    """`5 - 12 = -7   as tokens: 5 - 1 2 = - 7 <EOS>`, or the tokens alone where these are all there is to say."""
    from grokray.tasks.export import in_tokens, in_words

    words, tokens = in_words(table, row), " ".join(in_tokens(table, row))
    return tokens if words == tokens else f"{words}   as tokens: {tokens}"
