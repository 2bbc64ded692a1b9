"""ARC grids as rows of tokens: what is shown, what is asked, in words that need no torch.

A grid is written row by row, `/` between the rows: [[1, 2], [3, 4]] reads `1 2 / 3 4`. A question reads

    <mirror> 1 2 / 3 4 <mirror>=          and is answered    2 1 / 4 3 <EOS>

With `arc_context: 1` a pair of the same task stands before it, ended by `|`:

    <mirror> 5 6 <mirror>= 6 5 | 1 2 / 3 4 <mirror>=

`arc_holdout: pairs` holds out pairs of tasks that are trained on. Each task has tokens of its own, and is shown with
its first pairs, which are not asked: so no pair that is held out can be read in the context of one that is not.
`arc_holdout: tasks` holds out whole tasks. Then a task has no token of its own, since that of one held out would be
untrained: the rule is in the context, which is the pairs that follow the asked one, in a circle.
A task's test pairs are out of domain, and are shown with its first pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grokray.tasks.arc_files import COLOURS, ArcTask, Grid, Pair
from grokray.tasks.codes import Vocabulary

NEXT_ROW, NEXT_PAIR = COLOURS, COLOURS + 1
FIRST_OPERATOR = COLOURS + 2


@dataclass(frozen=True, kw_only=True)
class ArcRow:
    """`shown` pairs, then the `asked` one, of the task of this number."""

    task: int
    shown: tuple[Pair, ...]
    asked: Pair

    @property
    def answer_length(self) -> int:
        """Tokens of the answer, `<EOS>` included."""
        return grid_length(self.asked[1]) + 1

    @property
    def length(self) -> int:
        """Tokens that are read: prompt and answer but its last token."""
        shown = sum(grid_length(given) + grid_length(result) + 2 for given, result in self.shown)
        return 1 + shown + grid_length(self.asked[0]) + 1 + self.answer_length - 1


def in_domain(tasks: Sequence[ArcTask], context: int, holdout: str) -> Iterator[ArcRow]:
    """The train pairs that are asked, task after task."""
    for number, task in enumerate(tasks):
        circle = task.train * 2
        for i, asked in enumerate(task.train):
            if holdout == "tasks":
                yield ArcRow(task=number, shown=circle[i + 1 : i + 1 + context], asked=asked)
            elif i >= context:
                yield ArcRow(task=number, shown=task.train[:context], asked=asked)


def out_of_domain(tasks: Sequence[ArcTask], context: int) -> Iterator[ArcRow]:
    """The test pairs, task after task."""
    for number, task in enumerate(tasks):
        for asked in task.test:
            yield ArcRow(task=number, shown=task.train[:context], asked=asked)


def least_pairs(context: int, holdout: str) -> int:
    """Train pairs that a task needs: of `pairs`, one to train on and one to hold out."""
    return context + (1 if holdout == "tasks" else 2)


def vocabulary(tasks: Sequence[ArcTask], holdout: str) -> Vocabulary:
    """Colours, marks, an operator and an equals sign for each task (one of each with `tasks`), end and padding."""
    names = ["<arc>"] if holdout == "tasks" else [f"<{task.name}>" for task in tasks]
    marks = ("/", "|", *names, *(f"{name}=" for name in names), "<EOS>", "<PAD>")
    end = FIRST_OPERATOR + 2 * len(names)
    return Vocabulary(
        symbols=(*map(str, range(COLOURS)), *marks),
        numerals=COLOURS,
        op=FIRST_OPERATOR,
        equals=FIRST_OPERATOR + len(names),
        eos=end,
        pad=end + 1,
    )


def prompt(row: ArcRow, words: Vocabulary) -> list[int]:
    """Token ids up to the equals sign; `words` are those of the row's task."""
    ids = [words.op]
    for given, result in row.shown:
        ids += [*grid_ids(given), words.equals, *grid_ids(result), NEXT_PAIR]
    return [*ids, *grid_ids(row.asked[0]), words.equals]


def grid_ids(grid: Grid) -> list[int]:
    """[[1, 2], [3, 4]] → 1 2 / 3 4, where / is NEXT_ROW."""
    ids: list[int] = []
    for row in grid:
        ids += [*row, NEXT_ROW]
    return ids[:-1]


def grid_length(grid: Grid) -> int:
    return len(grid) * (len(grid[0]) + 1) - 1
