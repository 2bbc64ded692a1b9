"""How fast the journal is written, read, folded and collected, and what the state of a large sweep weighs.

python benchmarks/records.py --events 100000 --trials 1000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from grokray.records.collect import collect
from grokray.records.folder import SweepFolder
from grokray.records.journal_reader import JournalReader
from grokray.records.schema import METRICS
from grokray.trial import TrialConfig

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = SweepFolder.create_or_open(place, "", {}, {})
        _timed("write, one flush per event", options.events, lambda: _write_each(folder, options))
        # The fold comes first: later steps would hide what it adds to the peak.
        before = _peak_mib()
        state = _timed("read in chunks and fold", options.events, folder.state)
        print(f"{'state of the sweep':28} {_peak_mib() - before:10,.0f} MiB at most for {len(state.trials):,} trials")
        _timed("collect", options.events, lambda: collect(folder, state))
        _timed("poll", options.events, JournalReader(folder.store).poll)


def _events(trials: int, events: int) -> Iterator[dict[str, Any]]:
    ids = []
    for index in range(trials):
        config = TrialConfig(init_seed=index, weight_decay=1 + index / trials)
        ids.append(config.id)
        yield {"event": "suggest", "configuration": index, "parameters": {"weight_decay": config.weight_decay}}
        fields = {"trial_id": config.id, "index": index, "configuration": index, "seed": index}
        yield {"event": "trial", **fields, "config": config.model_dump()}
    for number in range(events - 2 * trials):
        metrics = {name: (number % 997) / 997 for name in METRICS}
        step = 100 * (1 + number // trials)
        fields = {"trial_id": ids[number % trials], "attempt": 1, "step": step, "wall_time_s": step / 7}
        yield {"event": "measurement", **fields, "metrics": metrics, "events": {"memorization_step": 100}}


def _write_each(folder: SweepFolder, options: argparse.Namespace) -> None:
    with folder.writer("benchmark") as writer:
        for event in _events(options.trials, options.events):
            writer.write_many([event])


def _timed(name: str, events: int, run: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    print(f"{name:28} {events / seconds:10,.0f} events/s ({seconds:.2f} s)")
    return result


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
