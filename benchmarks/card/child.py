"""`python -m card.child PART CASE PLAN`: one part. It is ready when all is imported, and begins when it is told how
many seconds it has and what was found before, in a line of JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module

import torch
from workers.pipes import Remarks, one_line, private_stdout

from card.notes import Notes
from card.parts import PARTS
from card.plan import Plan


def main(arguments: Sequence[str]) -> None:
    part, case, plan = arguments
    emit = private_stdout()
    sys.stderr = Remarks(sys.stderr, lambda line: emit({"remark": f"{case} {part}: {line}"}))
    module, _, name = PARTS[part].function.partition(":")
    function = getattr(import_module(module), name)
    line = sys.stdin.readline()
    if not line:  # whoever started it has ended
        return
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    torch.set_num_threads(1)
    told = json.loads(line)
    notes = Notes(Plan.from_json(json.loads(plan)), case, emit=emit, seconds=told["seconds"], found=told["found"])
    try:
        function(notes)
    except Exception as error:
        notes.left_out("the rest", one_line(error))


def _end_with_the_run() -> None:
    """A run that is killed ends nobody: in a session of its own this process would go on, and share the card with
    whatever is measured next."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
