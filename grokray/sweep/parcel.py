"""What is sent to a cluster to run a sweep there: the resolved search space, and the data that it refers to."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grokray.errors import ConfigError, Problem
from grokray.records.parts import part_name
from grokray.records.store import Store
from grokray.records.uri import hide_secrets, holds_credentials, join
from grokray.sweep import initial
from grokray.sweep.config import SweepConfig
from grokray.sweep.inputs import measures_of
from grokray.sweep.parameters import Parameter
from grokray.sweep.part import numbers
from grokray.tasks.arc_data import in_one_file
from grokray.trial import PATHS

DATA, TASKS, WEIGHTS, MEASURES = "data", "tasks.json", "initial.pt", "measures.py"


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A sweep that is to run elsewhere: `out` is a URI that every node reaches, `part` what --part says."""

    config: SweepConfig
    out: str
    part: str | None = None
    insecure: bool = False
    retry_failed: bool = False

    @property
    def folder(self) -> str:
        """The sweep's own: `out`, or that of the part in it."""
        return self.out if self.part is None else join(self.out, part_name(*numbers(self.part)))

    @property
    def command(self) -> str:
        """The job's command line. It names the part, as it is the job that sees whether `out` has room for it."""
        words = ["grokray", "sweep", self._file, "--address", "auto", "--out", self.out]
        words += [] if self.part is None else ["--part", self.part]
        flags = {"--insecure": self.insecure, "--retry-failed": self.retry_failed}
        return shlex.join([*words, *(flag for flag, is_set in flags.items() if is_set)])

    @contextmanager
    def packed(self) -> Iterator[Path]:
        """A folder with all that the command needs, while this holds."""
        with tempfile.TemporaryDirectory(prefix="grokray-submit-") as name:
            folder = Path(name)
            (folder / self._file).write_text(_with_data(self.config, folder).to_yaml(), encoding="utf-8")
            yield folder

    @property
    def _file(self) -> str:
        return f"{self.config.name}.yaml"


def folder_for_all_nodes(out: str | None) -> str:
    """The URI itself. ConfigError unless every node of a cluster finds the same folder there, as far as one can tell.

    >>> folder_for_all_nodes("s3://bucket/robust/")
    's3://bucket/robust'

    A path means another folder on each machine, so a network filesystem is to be named outright: file:///mnt/robust.
    """
    if not out:
        raise _refused("--out is missing, but must be a folder that every node of the cluster reaches", _WHERE)
    if "://" not in out:
        raise _refused(f"--out is {out}, a path, which is another folder on each node", _WHERE)
    if holds_credentials(out):
        rule = "holds credentials, which would stand in the cluster's list of jobs, in logs and in the journal"
        raise _refused(f"--out {hide_secrets(out)} {rule}", _CREDENTIALS)
    Store.from_uri(out)
    return out.rstrip("/")


_WHERE = (
    "Give a URI, such as s3://bucket/folder; or file:///mnt/folder, if every node mounts the same filesystem there."
)
_CREDENTIALS = "Leave them out; nodes have an instance profile, their environment, or ~/.aws/credentials."


def _with_data(config: SweepConfig, folder: Path) -> SweepConfig:
    """The search space with what it names by a path beside it. Of several paths of one name the journal tells which is
    meant by its path, so these stay where they are, and must be there on the nodes too."""
    if (measures := measures_of(config)) is not None:
        (folder / MEASURES).write_text(measures[0], encoding="utf-8")
        config = config.model_copy(update={"trial": config.trial.model_copy(update={"measure_file": MEASURES})})
    known = {name: config.parameters[name] for name in PATHS if name in config.parameters}
    moved = {
        name: parameter.model_copy(update={"values": (_packed(name, str(parameter.values[0]), folder),)})
        for name, parameter in known.items()
        if parameter.is_fixed and parameter.values[0] is not None and "://" not in str(parameter.values[0])
    }
    parameters = {name: _with_conditions(p, moved) for name, p in {**config.parameters, **moved}.items()}
    return config.model_copy(update={"parameters": parameters}) if moved else config


def _with_conditions(parameter: Parameter, moved: Mapping[str, Parameter]) -> Parameter:
    """The parameter where conditions on what has moved name it as it is called now."""
    when = {name: moved[name].values if name in moved else values for name, values in parameter.when.items()}
    return parameter.model_copy(update={"when": when})


def _packed(name: str, path: str, folder: Path) -> str:
    """Where in the folder it lies now."""
    if name == initial.FIELD:
        (folder / WEIGHTS).write_bytes(initial.file_of(path))
        return WEIGHTS
    if name == "data_file":
        shutil.copyfile(path, folder / f"{DATA}{Path(path).suffix}")
        return f"{DATA}{Path(path).suffix}"
    (folder / TASKS).write_bytes(in_one_file(path))
    return TASKS


def _refused(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(message=message)], hint=hint)
