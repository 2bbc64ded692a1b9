"""Whether a Ray cluster asks for a token. One that does not runs the code of anybody who reaches it.

Ray's token guards all of its doors or none: its servers check it if RAY_AUTH_MODE was `token` where they were started.
So we knock without one, at the cluster's control service (GCS), which listens on every interface, and at the dashboard
with its Jobs API where that can be reached from here.
"""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from unittest import mock

from grokray.errors import ClusterError, ConfigError, ExecutionError, Problem
from grokray.sweep.quiet import quiet_stderr
from grokray.wording import first_line

Answer = Literal["open", "guarded", "silent"]
KNOCK_S = 10.0
ASK_S = 3.0
LAST_PORT = 65_535
HOW_TO_GUARD = "Start it with RAY_AUTH_MODE=token in the environment of every node; --insecure uses it as it is."
HOW_TO_ENTER = "Copy the head's ~/.ray/auth_token to this machine, with mode 0600."


def find(address: str) -> str:
    """`host:port` of a cluster's control service. `auto` is what RAY_ADDRESS says, or what runs on this machine.

    Raises ConfigError for an address of another kind, OSError if nothing listens there: Ray would wait for minutes.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    if "://" in address:
        hint = "grokray submit runs a sweep on a cluster from another machine."
        raise _no_address(address, "must be auto or host:port of a cluster's head", hint)
    try:
        with quiet_stderr():
            found = canonicalize_bootstrap_address_or_die(address)
    except ValueError as error:
        raise _no_address(address, "must be auto or host:port") from error
    host, _, port = found.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) <= LAST_PORT):
        raise _no_address(address, f"must be auto or host:port, with a port of 1 to {LAST_PORT:,}")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    return found


def _no_address(address: str, rule: str, hint: str | None = None) -> ConfigError:
    return ConfigError([Problem(message=f"--address is {address or 'empty'}, but {rule}")], hint=hint)


def refuse_unguarded(address: str, *, insecure: bool = False) -> None:
    """ClusterError if the cluster lets in anybody, unless `insecure`, or if it does not let us in."""
    if control_answer(address) == "open":
        _refuse_open(f"the Ray cluster at {address}", insecure=insecure)
        return _use_mode("disabled")
    dashboard = dashboard_of(address)
    if dashboard is not None and jobs_answer(f"http://{dashboard}") == "open":
        _refuse_open(f"the dashboard of the Ray cluster, at {dashboard},", insecure=insecure)
    _use_mode("token")


def refuse_unguarded_jobs(url: str, *, insecure: bool = False) -> None:
    """As `refuse_unguarded`, at the Jobs API at `http://host:port`. Where it is silent and we have no token, there is
    nothing to try: ExecutionError."""
    answer = jobs_answer(url)
    if answer == "open":
        _refuse_open(f"the Jobs API at {url}", insecure=insecure)
        return _use_mode("disabled")
    if not has_token():
        if answer == "silent":
            raise ExecutionError(
                f"no Jobs API answers at {url}", hint="See that the cluster runs, and this is its URL."
            )
        raise ClusterError(f"the Jobs API at {url} wants a token, and this machine has none", hint=HOW_TO_ENTER)
    _use_mode("token")


def control_answer(address: str) -> Literal["open", "guarded"]:
    """How a cluster's control service answers to who has no token."""
    with _environment(RAY_AUTH_MODE="disabled"):
        return "guarded" if _ask_control(address) is None else "open"


def dashboard_of(address: str) -> str | None:
    """`host:port` of the dashboard; None where none runs, or none that can be reached from here. ClusterError if our
    token will not do."""
    known = None
    if has_token():  # Ray ends the whole process, without a word, where it is to use one and there is none
        with _environment(RAY_AUTH_MODE="token"):
            known = _ask_control(address)
    if known is None:
        ours = "but not the one that we have" if has_token() else "and this machine has none"
        raise ClusterError(f"the Ray cluster at {address} refuses us: it wants a token, {ours}", hint=HOW_TO_ENTER)
    # What is the head's loopback is another machine's own, where something else may answer.
    is_inner = known.startswith(("127.", "localhost:", "[::1]"))
    return None if not known or (is_inner and not _is_here(address)) else known


def jobs_answer(url: str, token: str | None = None) -> Answer:
    """How the Jobs API at `http://host:port` answers to who has no token, or this one; silent if nothing answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url.rstrip('/')}/api/jobs/", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer in its place
    try:
        with opener.open(request, timeout=ASK_S):
            return "open"
    except urllib.error.HTTPError as error:
        return "guarded" if error.code in (401, 403) else "silent"
    except (OSError, ValueError):
        return "silent"


def read_again() -> None:
    """Ray reads its settings when it is imported, and its token once: have it look at the environment anew."""
    from ray._raylet import AuthenticationTokenLoader, Config  # pyright: ignore[reportAttributeAccessIssue]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def has_token() -> bool:
    """Whether this machine has a token: in RAY_AUTH_TOKEN, in the file of RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token."""
    from ray._raylet import AuthenticationTokenLoader  # pyright: ignore[reportAttributeAccessIssue]

    return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def _ask_control(address: str) -> str | None:
    """The dashboard's address, empty where there is none; None if we are not let in."""
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]
    from ray.exceptions import AuthenticationError, RaySystemError, RpcError

    try:
        with quiet_stderr():
            client = GcsClient(address=address)
            return (client.internal_kv_get(b"dashboard", namespace=b"dashboard", timeout=KNOCK_S) or b"").decode()
    except AuthenticationError:
        return None
    except (RpcError, RaySystemError) as error:
        raise ExecutionError(f"no Ray cluster answers at {address}: {first_line(error)}") from error


def _is_here(address: str) -> bool:
    """Whether the host of host:port is this machine: one can listen on one's own addresses only."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _refuse_open(what: str, *, insecure: bool) -> None:
    if not insecure:
        text = f"{what} runs jobs without a token: whoever reaches it can run code there"
        raise ClusterError(text, hint=HOW_TO_GUARD)


def _use_mode(mode: str) -> None:
    """Of Ray's client in this process, from here on."""
    os.environ["RAY_AUTH_MODE"] = mode
    read_again()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    try:
        with mock.patch.dict(os.environ, variables):
            read_again()
            yield
    finally:
        read_again()
