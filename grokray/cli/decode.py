"""`grokray decode`: what a trained model answers."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from grokray.cli.checkpoint_path import CheckpointArgument, TrialOption, WhichOption, load_trial
from grokray.wording import NOTHING

PARTS = {"train": "a training pair", "heldout": "held out", "out_of_domain": "out of domain", None: "in no part"}
ERRORS = {
    "value": "another value",
    "sign": "the wrong sign",
    "carry": "off by one carry",
    "wrong_length": "too long or too short",
    "other": "no answer at all",
}
_MINUS = re.compile(r"-\s*\d")


def decode(
    checkpoint: CheckpointArgument,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help='Such as "12 + 7", as the model is shown it.')],
    trial: TrialOption = None,
    which: WhichOption = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Ask a trained model: its answer, digit by digit, and whether it is right."""
    from grokray.cli.question import ask

    found = load_trial(checkpoint, trial=trial, which=which, device="cpu")
    answer = ask(found, question)
    if as_json:
        about = {"trial_id": found.checkpoint.trial_id, "step": found.checkpoint.step}
        print(json.dumps({**about, **answer}, ensure_ascii=False))
        return 0
    print(f"trial: {found.checkpoint.trial_id}, {found.config.operation}, at step {found.checkpoint.step:,}")
    print(f"asked: {' '.join(answer['input_tokens'])}")
    print(f"tokens: {' '.join(answer['prediction_tokens'])}")
    print(f"answer: {NOTHING if answer['prediction'] is None else answer['prediction']}")
    print(f"right: {_judgement(answer)}")
    noise = answer["noisy_label"]
    print(f"part: {PARTS[answer['part']]}" + (f", trained on the wrong answer {noise}" if noise is not None else ""))
    return 0


def question_last(words: list[str]) -> list[str]:
    """A question such as "-3 + 4" starts like an option: where no `--` is there, it goes behind one. What stands after
    an option is its value."""
    before = ["", *words]
    asked = [i for i, word in enumerate(words) if _MINUS.match(word) and before[i] not in ("--which", "--trial")]
    if not asked or "--" in words:
        return words
    return [*(word for i, word in enumerate(words) if i not in asked), "--", *(words[i] for i in asked)]


def _judgement(answer: dict[str, Any]) -> str:
    if answer["match"]:
        return "yes"
    wrong = ERRORS.get(answer["error"], f"digit {answer['wrong_digit']} is the first wrong one")
    return f"no, {answer['truth']} is; {wrong}"
