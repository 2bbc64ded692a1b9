"""A cluster's Jobs API, and a sweep as a job there: found again by its folder, submitted, asked how it is.

Ray's client waits for ever on a dead connection, and tells faults of all kinds as RuntimeError: this one does neither.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from unittest import mock

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from grokray.errors import ClusterError, ExecutionError
from grokray.sweep.guard import HOW_TO_ENTER, refuse_unguarded_jobs
from grokray.sweep.parcel import Parcel
from grokray.wording import first_line

ANSWER_S = 30.0
STOP_S = 120  # Ray ends a job's process so long after it was told to stop; meanwhile trials are checkpointed
FOLDER, SPACE = "grokray_out", "grokray_space"  # in the metadata of a job
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
# What Ray takes from the environment in place of the address that it is given.
_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


class ConnectionLost(ExecutionError):
    """Nothing answers, for now."""


class JobGone(ExecutionError):
    """The cluster knows no such job: its head is another one by now."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """`exit_code` is that of the driver, None where it has none; `message` is Ray's."""

    id: str
    ended: bool
    stopped: bool = False
    exit_code: int | None = None
    message: str = ""


class Jobs:
    """The Jobs API at `http://host:port`. Raises ConnectionLost wherever nothing answers any more."""

    def __init__(self, url: str, *, insecure: bool = False) -> None:
        """Raises ClusterError where it asks for no token, unless `insecure`, or where ours will not do."""
        _require_client()
        refuse_unguarded_jobs(url, insecure=insecure)
        with _understood(url):
            self._client = _client(url)
        self.url = url

    def running(self, parcel: Parcel) -> Job | None:
        """The job that works on the sweep's folder. ClusterError if it does so for another search space."""
        with _understood(self.url):
            jobs = self._client.list_jobs()
        for details in jobs:
            metadata = details.metadata or {}
            if details.submission_id and metadata.get(FOLDER) == parcel.folder and not details.status.is_terminal():
                if metadata.get(SPACE) != space_of(parcel):
                    text = f"job {details.submission_id} runs a sweep of another search space in {parcel.folder}"
                    raise ClusterError(text, hint="choose another --out, or wait until that job has ended")
                return _job(details)
        return None

    def submit(self, parcel: Parcel, *, columns: int) -> Job:
        """Send the search space, and start its sweep on the head."""
        job_id = f"{parcel.config.name}-{secrets.token_hex(4)}"
        with _understood(self.url), parcel.packed() as folder:
            self._client.submit_job(
                entrypoint=parcel.command,
                submission_id=job_id,
                runtime_env={
                    "working_dir": str(folder),
                    # Nothing secret may stand here: whoever may list jobs reads it.
                    "env_vars": {"COLUMNS": str(columns), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)},
                },
                metadata={FOLDER: parcel.folder, SPACE: space_of(parcel)},
            )
        return Job(id=job_id, ended=False)

    def job(self, job_id: str) -> Job:
        """JobGone if it is not known."""
        with _understood(self.url):
            return _job(self._client.get_job_info(job_id))

    def log(self, job_id: str) -> str:
        """All that the driver has printed so far."""
        with _understood(self.url):
            return self._client.get_job_logs(job_id)

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """What the driver has printed, piece by piece from the start on, and what it prints until it ends."""
        with _understood(self.url):
            async for text in self._client.tail_job_logs(job_id):
                yield text


def space_of(parcel: Parcel) -> str:
    """16 hexadecimal digits of what defines the search."""
    text = json.dumps(parcel.config.fingerprint(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _require_client() -> None:
    if not (find_spec("aiohttp") and find_spec("requests")):
        text = "Ray's client for jobs is not complete here: it lacks what ray[default] brings"
        raise ClusterError(text, hint="pip install 'grokray[cluster]', or -e '.[cluster]' in grokray's own folder")


def _client(url: str) -> JobSubmissionClient:
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    with mock.patch.dict(os.environ):
        for name in _OVERRIDES:
            os.environ.pop(name, None)
        return _Client(url)


class _Client(JobSubmissionClient):
    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": ANSWER_S, **options})

    def _raise_error(self, r: Any) -> None:
        reason = (r.text.strip().splitlines() or [r.reason])[-1]
        if r.status_code == 404:
            raise JobGone(f"the cluster does not know that job: {reason}")
        if r.status_code >= 500:
            raise ConnectionLost(f"the cluster's Jobs API is in trouble: {reason}")
        raise ExecutionError(f"the cluster's Jobs API refuses: {reason}")


@contextmanager
def _understood(url: str) -> Iterator[None]:
    import aiohttp
    import requests

    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(f"the Jobs API at {url} refuses our token", hint=HOW_TO_ENTER) from error
    except (requests.RequestException, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        raise ConnectionLost(f"nothing answers at {url}: {type(error).__name__}") from error
    except RuntimeError as error:
        raise ConnectionLost(f"the connection to {url} broke: {first_line(error)}") from error


def _job(details: JobDetails) -> Job:
    return Job(
        id=details.submission_id or "",
        ended=details.status.is_terminal(),
        stopped=details.status == "STOPPED",
        exit_code=0 if details.status == "SUCCEEDED" else details.driver_exit_code,
        message=details.message or "",
    )
