"""Whom a cluster lets in, by what its Jobs API answers. Real heads: test_head.py."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from grokray.errors import ClusterError, ConfigError, ExecutionError
from grokray.sweep import guard
from grokray.sweep.guard import find, jobs_answer, refuse_unguarded, refuse_unguarded_jobs

TOKEN = "0123456789abcdef0123456789abcdef"


@contextmanager
def server(*, guarded: bool, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            code = 401 if guarded and not given else 403 if guarded and given != f"Bearer {TOKEN}" else status
            self.send_response(code)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def mode(monkeypatch, tmp_path):
    """What is set here is unset afterwards, and the user's own token is not looked at."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # so that it is restored
    guard.read_again()
    yield
    monkeypatch.undo()
    guard.read_again()


@pytest.mark.parametrize(
    ("guarded", "status", "token", "answer"),
    [
        (False, 200, None, "open"),
        (True, 200, None, "guarded"),
        (True, 200, "wrong", "guarded"),
        (True, 200, TOKEN, "open"),
        (False, 500, None, "silent"),
        (False, 404, None, "silent"),
    ],
)
def test_what_a_jobs_api_answers(guarded, status, token, answer):
    with server(guarded=guarded, status=status) as url:
        assert jobs_answer(url, token) == answer


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(guarded=True) as url:
        assert jobs_answer(url) == "guarded"


def test_where_nothing_listens_there_is_no_answer():
    assert jobs_answer("http://127.0.0.1:1") == "silent"


def test_an_open_jobs_api_is_refused_unless_that_is_said():
    with server(guarded=False) as url:
        with pytest.raises(ClusterError, match="runs jobs without a token") as caught:
            refuse_unguarded_jobs(url)
        assert caught.value.exit_code == 2
        assert "--insecure" in (caught.value.hint or "")
        refuse_unguarded_jobs(url, insecure=True)
        assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize("insecure", [False, True])
def test_a_guarded_jobs_api_wants_our_token(insecure, monkeypatch):
    with server(guarded=True) as url:
        with pytest.raises(ClusterError, match="this machine has none"):
            refuse_unguarded_jobs(url, insecure=insecure)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        guard.read_again()
        refuse_unguarded_jobs(url, insecure=insecure)
        assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_missing_token_is_not_blamed_where_nothing_listens():
    with pytest.raises(ExecutionError, match="no Jobs API answers at http://127.0.0.1:1"):
        refuse_unguarded_jobs("http://127.0.0.1:1")


def test_an_open_dashboard_beside_a_guarded_control_service_is_refused(monkeypatch):
    with server(guarded=False) as url:
        monkeypatch.setattr(guard, "control_answer", lambda address: "guarded")
        monkeypatch.setattr(guard, "dashboard_of", lambda address: url.removeprefix("http://"))
        with pytest.raises(ClusterError, match="the dashboard of the Ray cluster"):
            refuse_unguarded("127.0.0.1:6379")


@pytest.mark.parametrize(
    ("control", "known", "dashboard"),
    [
        ("127.0.0.1:6379", "127.0.0.1:8265", "127.0.0.1:8265"),
        ("192.0.2.77:6379", "127.0.0.1:8265", None),  # the head's loopback is not ours
        ("192.0.2.77:6379", "192.0.2.77:8265", "192.0.2.77:8265"),
        ("127.0.0.1:6379", "", None),
    ],
)
def test_a_dashboard_that_cannot_be_reached_from_here_is_not_asked(control, known, dashboard, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    guard.read_again()
    monkeypatch.setattr(guard, "_ask_control", lambda address: known)
    assert guard.dashboard_of(control) == dashboard


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8265", "ray://head:10001", "nonsense", "head:", "head:x", "head:-5", "head:99999"]
)
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(ConfigError, match=f"--address is {address}, but must be auto or host:port"):
        find(address)


def test_auto_is_what_the_environment_of_a_job_says(monkeypatch):
    with socket.create_server(("", 0)) as listening:  # Ray makes the loopback the node's own address
        port = listening.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        assert find("auto").endswith(f":{port}")
