"""The Jobs API's answers, as errors that say what to do. Against a real one: test_head.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.exceptions import AuthenticationError

from grokray.errors import ClusterError, ExecutionError
from grokray.sweep import jobs
from grokray.sweep.jobs import ConnectionLost, JobGone, Jobs

pytest.importorskip("aiohttp", reason="the client needs ray[default]")
URL = "http://127.0.0.1:1"


def test_what_ray_s_extra_brings_is_asked_for(monkeypatch):
    monkeypatch.setattr(jobs, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"lacks what ray\[default\] brings") as caught:
        Jobs(URL)
    assert caught.value.exit_code == 2
    assert "grokray[cluster]" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("status", "error"), [(404, JobGone), (500, ConnectionLost), (503, ConnectionLost), (400, ExecutionError)]
)
def test_answers_of_the_api(status, error):
    answer = SimpleNamespace(status_code=status, text="Traceback …\nno such thing\n", reason="Bad")
    with pytest.raises(error, match="no such thing") as caught:
        jobs._Client._raise_error(SimpleNamespace(), answer)  # type: ignore[arg-type]
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (ConnectionRefusedError("refused"), ConnectionLost),
        (TimeoutError(), ConnectionLost),
        (RuntimeError("WebSocket connection closed unexpectedly"), ConnectionLost),
        (AuthenticationError("invalid"), ClusterError),
        (JobGone("gone"), JobGone),
    ],
)
def test_whatever_breaks_is_one_of_ours(cause, error):
    with pytest.raises(error), jobs._understood(URL):
        raise cause


def test_where_nothing_listens(monkeypatch):
    monkeypatch.setattr(jobs, "refuse_unguarded_jobs", lambda url, insecure: None)
    with pytest.raises(ConnectionLost, match=f"nothing answers at {URL}"):
        Jobs(URL)
