"""Trials as runs of Weights & Biases: a trial's id is its run's id, the sweep's name is the group.

`maximal`: every measurement with all its numbers, examples, and the trial's row as an artifact. `minimal`: config,
summary, losses and accuracies at up to 200 steps. The client finds its key by itself (WANDB_API_KEY, netrc); grokray
never reads it, and hands it to nobody.
"""

from __future__ import annotations

import json
import math
import netrc
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from grokray.errors import ConfigError, Problem
from grokray.tracking.base import NOTHING_YET, Fold, Point, Settings

MAX_POINTS = 200  # of a minimal run
ANSWERS = ("loss", "token_accuracy", "exact_match")  # what a minimal run holds, of each part and task
INIT_TIMEOUT_S, FINISH_TIMEOUT_S = 45, 60
WHOLE = "whole"  # a file that marks the folder of a run whose file was closed
INTERRUPTED = 255  # the exit code by which W&B knows a run that was interrupted


def resolve_mode(settings: Settings) -> Literal["online", "offline", "disabled"]:
    """What the file says, else WANDB_MODE, else online if there is a key. ConfigError if it is to be online without."""
    named = settings.mode if settings.mode != "auto" else os.environ.get("WANDB_MODE", "auto")
    if settings.wandb == "disabled" or (settings.mode == "auto" and named == "disabled"):
        return "disabled"
    _check_environment()
    if named in ("offline", "dryrun"):
        return "offline"
    if has_key():
        return "online"
    if named == "auto":
        return "offline"
    text = "tracking.mode is online, but no API key of Weights & Biases is configured"
    raise ConfigError(
        [Problem(message=text, field="tracking.mode")], hint="Run `wandb login`, or set tracking.mode to offline."
    )


def _check_environment() -> None:
    """The client would read it, whatever the file says, and fail on what it does not know."""
    known = ("online", "offline", "disabled", "dryrun", "run", "shared")
    given = os.environ.get("WANDB_MODE")
    if given is not None and given not in known:
        text = f"the environment variable WANDB_MODE is {given!r}, but must be one of {', '.join(known)}"
        raise ConfigError([Problem(message=text)])


def has_key() -> bool:
    """Whether the client will find a key, without reading it. Neither asks the user nor the network."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = _client().setup().settings
    if settings.api_key or settings.identity_token_file:
        return True
    host = urlsplit(settings.base_url).hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False


class WandbBackend:
    """A `Backend`. Files go to `<folder>/wandb`; `group` is none for a trial on its own."""

    name = "W&B"

    def __init__(
        self,
        settings: Settings,
        mode: Literal["online", "offline"],
        folder: Path,
        group: str | None,
        say: Callable[[str], None],
    ) -> None:
        self.settings, self.folder, self.group, self.say = settings, folder, group, say
        self.mode: Literal["online", "offline"] = mode
        self.remembers = mode == "online"
        self._told = False

    def open(self, fold: Fold) -> tuple[_Run, int]:
        # Beside the runs, and not in the user's home: an offline run needs its artifacts when it is sent later.
        os.environ.setdefault("WANDB_DATA_DIR", str(self.folder / "wandb"))
        (self.folder / "wandb").mkdir(parents=True, exist_ok=True)
        self._discard_torn(str(fold.trial_id))
        config = fold.config or {}
        run = _client().init(
            project=self.settings.project,
            entity=self.settings.entity,
            id=fold.trial_id,
            name=fold.trial_id if self.group is None else f"{self.group}/{fold.index}",
            group=self.group,
            job_type="trial",
            config=config,
            mode=self.mode,
            resume="allow",
            reinit="create_new",  # many runs at once, none of them the global one
            dir=str(self.folder),
            settings=_quiet_settings(),
        )
        if self.mode == "online" and not self._told:
            self._told = True
            self.say(f"W&B: {run.project_url}")
        stride = _stride(config) if self.settings.wandb == "minimal" else 1
        return _Run(wandb=run, stride=stride), run.step - 1 if run.resumed else NOTHING_YET

    def log(self, run: _Run, points: Sequence[Point]) -> None:
        for point in points:
            run.held = point if point.step % run.stride else None
            if run.held is None:
                self._send(run, point)

    def finish(self, run: _Run, fold: Fold) -> None:
        self._send_held(run)
        whole = fold.row()
        row = {name: value for name, value in whole.items() if value is not None}
        # Of a trial that had failed the run still says why: what is null by now must be said, too.
        summary = whole if fold.run_again else row
        run.wandb.summary.update({name: v for name, v in summary.items() if name not in (fold.config or {})})
        if self.settings.wandb == "maximal":
            self._add_examples(run, fold)
            self._add_artifact(run, fold, row)
        self._finish(run, exit_code=int(row.get("outcome") == "failed"))

    def leave(self, run: _Run) -> None:
        self._send_held(run)
        self._finish(run, exit_code=INTERRUPTED)

    def close(self) -> None:
        # Else the client does it at the interpreter's exit, where it may complain, or take its time.
        _client().teardown()

    def _finish(self, run: _Run, exit_code: int) -> None:
        run.wandb.finish(exit_code=exit_code)
        Path(run.wandb.dir).parent.joinpath(WHOLE).touch()

    def _discard_torn(self, trial_id: str) -> None:
        """Remove what a killed session left of an offline run: perhaps nothing readable. It is written anew."""
        for folder in (self.folder / "wandb").glob(f"offline-run-*-{trial_id}"):
            if not (folder / WHOLE).exists() and not list(folder.glob("*.synced")):
                shutil.rmtree(folder)

    def _send_held(self, run: _Run) -> None:
        """The last point of a minimal run is always there, and that of a session: it may turn out to be the last."""
        if run.held is not None:
            self._send(run, run.held)

    def _send(self, run: _Run, point: Point) -> None:
        values: dict[str, Any] = dict(point.values)
        if self.settings.wandb == "minimal":
            values = {name: value for name, value in values.items() if name.endswith(ANSWERS)}
        run.wandb.log(values, step=point.step)

    def _add_examples(self, run: _Run, fold: Fold) -> None:
        """A table of the last ones; the artifact has them all."""
        examples = fold.examples()
        last = [example for example in examples if example["step"] == examples[-1]["step"]]
        if last:
            columns = list(dict.fromkeys(name for example in last for name in example))
            data = [[_cell(example.get(name)) for name in columns] for example in last]
            # A run that goes on is a step further than what its server holds, and drops what is said of an earlier one.
            step = max(fold.last_step, run.wandb.step)
            run.wandb.log({"examples": _client().Table(columns=columns, data=data)}, step=step)

    def _add_artifact(self, run: _Run, fold: Fold, row: dict[str, Any]) -> None:
        artifact = _client().Artifact(f"trial-{fold.trial_id}", type="trial")
        with artifact.new_file("row.json") as file:
            json.dump(row, file, indent=2)
        if examples := fold.examples():
            with artifact.new_file("examples.jsonl") as file:
                file.writelines(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
        run.wandb.log_artifact(artifact)


class _Run:
    """`stride`: only steps that are multiples of it are sent. `held`: the newest point if it was not."""

    def __init__(self, *, wandb: Any, stride: int) -> None:
        self.wandb, self.stride = wandb, stride
        self.held: Point | None = None


def _stride(config: dict[str, Any]) -> int:
    """20,000 steps measured every 50 are 400 points: a stride of 150 leaves 133, and the last."""
    interval, more = config["eval_interval"], 1 + bool(config.get("eval_start"))
    return interval * math.ceil(math.ceil(config["num_steps"] / interval) / (MAX_POINTS - more))


def _cell(value: Any) -> Any:
    """A column of a table has one type; lists of tokens become texts."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _client() -> Any:
    """The module wandb, imported where it is needed alone: that takes a second."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def _quiet_settings() -> Any:
    """No output, nothing of the user's code, machine or environment; only what this version of the client knows."""
    settings = _client().Settings
    wanted = {
        "console": "off",
        "silent": True,
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "init_timeout": INIT_TIMEOUT_S,
        "finish_timeout": FINISH_TIMEOUT_S,
        "finish_timeout_raises": True,
        "stop_fn": _do_not_stop,  # by default a button on the web page interrupts the whole sweep
    }
    return settings(**{name: value for name, value in wanted.items() if name in settings.model_fields})


def _do_not_stop() -> None:
    pass
