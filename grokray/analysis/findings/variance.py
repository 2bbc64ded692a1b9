"""How much of the spread comes from hyper-parameters, and how much from seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from grokray.analysis.findings.finding import Finding, interval, missing, unique
from grokray.analysis.findings.words import stated
from grokray.analysis.shares import Estimate
from grokray.analysis.variance import Split, variance_of_grokking, variance_of_step

NAME, TITLE = "variance", "Hyper-parameters or chance"
SPLIT = {"grokked": "whether a trial groks", "log grok_step": "when"}


def variance(trials: pa.Table, level: float = 0.95) -> Finding:
    splits = [one(trials, level=level) for one in (variance_of_grokking, variance_of_step)]
    found = [split for split in splits if isinstance(split, Split)]
    reasons = [split for split in splits if isinstance(split, str)]
    if not found:
        # Mostly the same one for both, which then needs no name before it.
        alone = unique([reason.split(": ", 1)[-1] for reason in reasons])
        return missing(NAME, TITLE, alone[0] if len(alone) == 1 else "; ".join(reasons))
    return Finding(
        name=NAME,
        title=TITLE,
        tables={"variance": pd.DataFrame([row for split in found for row in _rows(split)])},
        summary=_summary(found),
        notes=unique([*(note for split in found for note in split.notes), *reasons]),
        level=level,
        estimates=found,
    )


def _summary(found: Sequence[Split]) -> str:
    shares = {split.of: split.hyperparameters_share for split in found}
    known = [of for of in SPLIT if _is_known(shares.get(of))]
    named = zip(known, ("the variance of", "that of"), strict=False)  # of one alone, or of both
    parts = [f"{stated('share', shares[of])} of {text} {SPLIT[of]}" for of, text in named]
    return f"Hyper-parameters decide {' and '.join(parts)}; the rest is left to seeds." if parts else ""


def _is_known(share: Estimate | None) -> bool:
    return share is not None and not math.isnan(share.value)


def _rows(split: Split) -> list[dict[str, Any]]:
    rows = [
        ("hyper-parameters", split.hyperparameters, split.hyperparameters_share),
        ("seeds", split.seeds, split.seeds_share),
        ("of seeds: common to all configurations", split.common_to_configurations, None),
        ("of seeds: other in each configuration", split.interaction, None),
        *((f"{name} by itself", estimate, None) for name, estimate in split.by_seed.items()),
    ]
    return [
        {
            "of": split.of,
            "source": source,
            **interval("variance_share", share),
            **interval("variance", estimate),
            "trials": split.trials,
        }
        for source, estimate, share in rows
        if estimate is not None
    ]
