"""Everything that is said about grokray on a GPU, measured on one card.

python benchmarks/gpu.py                          (under 9 minutes of one large GPU)
python benchmarks/gpu.py --device cpu --quick     (a rehearsal: every part, at sizes whose numbers mean nothing)
python benchmarks/gpu.py --only engines,rivals --keep     (these parts anew, the others' results stay)

Parts, in the order of their importance (`card.parts`): what the engine compiles for the others, several at
once; the card's matrix products; the engine, compiled and eager, in each precision, with few and many trials; a
process for each trial; other ways to train many models, in the same rounds; evaluations, churn and checkpoints; how
equal curves are; what lower precision does to grokking. Each runs in a process of its own, so that one that fails or
hangs costs no other, and within `--budget` seconds: what does not fit is left out. Rates are trial-steps per second of
wall time, medians of rounds in which contestants take turns; the card is waited for at the ends of a slice alone.
Whatever is found is written at once to results/gpu-CARD.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import torch
from card.device import card_name, description, is_gpu
from card.parts import PARTS, order
from card.plan import full_plan, quick_plan
from card.report import report
from card.run import Run, running_s


def main() -> None:
    options = _options()
    plan = (quick_plan if options.quick else full_plan)(options.device)
    todo = list(order(plan, options.cases, options.only))
    name = f"gpu-{card_name(plan.device)}" + ("-quick" if options.quick else "")
    results = _kept(options.out / f"{name}.json", todo) if options.keep else {}
    results |= {"card": description(plan.device), "plan": plan.as_json(), "budget_s": options.budget}
    run = Run(plan, budget_s=options.budget - running_s(), name=name, folder=options.out, results=results)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        # Empty, so that the first part shows what compiling takes, and shared by all parts.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache)
        # A process that compiles would share the card with those that are measured.
        os.environ.setdefault("GROKRAY_COMPILE_AHEAD", "0")
        run.parts(todo)
    print(f"\n{report(plan, results)}\n\nwritten to {run.write()}")


def _kept(path: Path, anew: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The results of an earlier run, without what it had to say about parts that are about to be measured anew."""
    if not path.exists():
        return {}
    try:
        old = json.loads(path.read_text())
    except ValueError as error:
        sys.exit(f"{path} cannot be kept: it is no JSON, {error}")
    names = {f"{case} {part}" for case, part in anew}
    left_out = {part: found for part, found in old["left_out"].items() if part not in names}
    remarks = [remark for remark in old["remarks"] if remark.partition(":")[0] not in names]
    return {"cases": old["cases"], "left_out": left_out, "part_s": old["part_s"], "remarks": remarks}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how fast")
    parser.add_argument("--budget", type=float, default=520.0, help="seconds that it may take (default: 520)")
    parser.add_argument("--cases", type=_names, default=(), help="by commas; default: wide,narrow,sequence")
    parser.add_argument("--only", type=_names, default=(), help=f"parts, by commas, of {','.join(PARTS)}")
    parser.add_argument("--keep", action="store_true", help="keep an earlier run's results of other parts")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="the results' folder")
    options = parser.parse_args()
    if is_gpu(options.device) and not torch.cuda.is_available():
        parser.error(f"--device is {options.device}, but PyTorch {torch.__version__} sees no GPU here")
    cases = (quick_plan if options.quick else full_plan)(options.device).cases
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out is {options.out}, which cannot be a folder: {error.strerror}")
    for name, known in (("cases", cases), ("only", PARTS)):
        for given in getattr(options, name):
            if given not in known:
                parser.error(f"--{name} names {given}, but must be of {', '.join(known)}")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    main()
