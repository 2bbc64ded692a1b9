"""A part of a sweep, for a driver of its own: every n-th configuration, from the k-th on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from grokray.sweep.grammar import fault

if TYPE_CHECKING:
    from grokray.sweep.config import SweepConfig

MOST = 1_000
_PATTERN = r"([0-9]{1,4})/([0-9]{1,4})"


def numbers(text: str) -> tuple[int, int]:
    """`2/4` as (2, 4). ValueError for anything that is no part."""
    found = re.fullmatch(_PATTERN, text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise ValueError(f"is {text!r}, but must be K/N with 1 <= K <= N <= {MOST:,}, such as 2/4")
    return int(found[1]), int(found[2])


def _checked(value: Any) -> Any:
    try:
        numbers(str(value))
    except ValueError as error:
        raise fault(None, str(error).partition(", but ")[2]) from None
    return value


Part = Annotated[str, BeforeValidator(_checked), Field(json_schema_extra={"pattern": f"^{_PATTERN}$"})]


def folder_of_part(out: str, config: SweepConfig) -> str:
    """Where a part is run; see `records.parts.part_folder` for what is refused."""
    from grokray.records.parts import part_folder

    assert config.part is not None
    return part_folder(out, *numbers(config.part))
