"""The way to a Jobs API. `ray dashboard`, which opens the tunnel, is a stand-in here."""

from __future__ import annotations

import shlex
import socket
import time

import pytest

from grokray.errors import ConfigError, ExecutionError
from grokray.sweep import doors
from grokray.sweep.doors import Direct, Tunnel, door

# As `ray dashboard FILE --port P`: answers there, with a child of its own, or says why it cannot.
FORWARDS = """
import http.server, subprocess, sys
port = int(sys.argv[-1])
print("Attempting to establish dashboard locally")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, file=open(sys.argv[-3], "w"), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
FAILS = "import sys; print('Attempting'); sys.exit('Error: Head node of cluster (x) not found!')"


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_tunnel_is_up_while_it_is_open_and_its_children_end_with_it(monkeypatch, tmp_path):
    monkeypatch.setattr(doors, "_RAY", FORWARDS)
    file = tmp_path / "child"
    with Tunnel(str(file)).open() as url:
        port = int(url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
        child = int(file.read_text())
        assert is_alive(child)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_tunnel_that_cannot_be_says_why(monkeypatch):
    monkeypatch.setattr(doors, "_RAY", FAILS)
    with (
        pytest.raises(ExecutionError, match=r"no way to the head of x.yaml: Error: Head node") as caught,
        Tunnel("x.yaml").open(),
    ):
        pytest.fail("opened")
    assert "ray up" in (caught.value.hint or "")


def test_a_tunnel_that_does_not_come_up_is_given_up(monkeypatch):
    monkeypatch.setattr(doors, "_RAY", "import time; print('Trying'); time.sleep(600)")
    monkeypatch.setattr(doors, "TUNNEL_S", 1.0)
    with pytest.raises(ExecutionError, match="no way to the head of x.yaml"), Tunnel("x.yaml").open():
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org"),
    ],
)
def test_addresses(address, url):
    assert door(cluster=None, address=address) == Direct(url)


@pytest.mark.parametrize("address", ["ray://head:10001", "http://user:secret@head:8265", "", "https:///"])
def test_addresses_that_are_none(address):
    with pytest.raises(ConfigError, match="must be that of a Jobs API") as caught:
        door(cluster=None, address=address)
    assert "secret" not in str(caught.value)


def test_a_shell_takes_the_commands_that_stop_a_job_as_they_are_meant(tmp_path):
    (tmp_path / "my clusters").mkdir()
    file = tmp_path / "my clusters" / "cluster.yaml"
    file.write_text("cluster_name: x\nprovider: {type: aws}\n")
    stop = ["RAY_AUTH_MODE=token", *(["ray", "job", "stop"]), "my sweep-1", "--address"]
    *words, _ = shlex.split(door(cluster=None, address="h:1").stop_command("my sweep-1"))
    assert words == stop
    *through, on_the_head = shlex.split(door(cluster=str(file), address=None).stop_command("my sweep-1"))
    assert through == ["ray", "exec", str(file)]
    assert shlex.split(on_the_head) == [*stop, "http://127.0.0.1:8265"]


def test_the_commands_that_stop_a_job_hold_no_token(tmp_path):
    (tmp_path / "cluster.yaml").write_text("cluster_name: x\nprovider: {type: aws}\n")
    for way in (door(cluster=str(tmp_path / "cluster.yaml"), address=None), door(cluster=None, address="h:1")):
        assert "ray job stop robust-1" in way.stop_command("robust-1")
        assert "RAY_AUTH_TOKEN" not in way.stop_command("robust-1")
