"""Who gets into a cluster: workers, clients and the Jobs API, with a token, without one, and with a wrong one."""

from __future__ import annotations

import json

import pytest

from tests.cluster.lab.lab import REPOSITORY, Lab
from tests.cluster.lab.ray_cluster import make_token
from tests.cluster.lab.scenario import SEARCH_SPACE

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

HEAD, OTHER = "172.31.0.11", "172.31.0.12"
START = "ray start --num-cpus=1 --object-store-memory=100000000"
WRONG = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=" + 32 * "0"
RIGHT = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/root/token"
JOIN = f"import ray; ray.init(address='{HEAD}:6379', logging_level='CRITICAL'); print('joined')"
ASK = """
import sys, urllib.error, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[1]} if sys.argv[1] else {}
try:
    print(urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8265/api/jobs/", headers=headers)).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""

who = pytest.mark.parametrize(
    ("with_what", "enters"), [(RIGHT, True), ("", False), (WRONG, False)], ids=["token", "none", "wrong"]
)


@pytest.fixture(scope="module")
def head(lab: Lab) -> str:
    """A head that wants the token. It lies where Ray does not look by itself, so who wants to use it must say so."""
    make_token(lab)
    for name, ip in (("h1", HEAD), ("h2", OTHER)):
        lab.boot(name, ip)
        lab.copy_to_host(ip, "/root/.ray/auth_token", "/root/token")
    lab.on_host(HEAD, f"{RIGHT} {START} --head --port=6379 --dashboard-host=127.0.0.1")
    return HEAD


@who
def test_a_worker(lab: Lab, head: str, with_what: str, enters: bool):
    lab.on_host(OTHER, f"{with_what} timeout 90 {START} --address={head}:6379", check=False)
    alive = {node["node_ip"] for node in nodes(lab) if node["state"] == "ALIVE"}
    lab.on_host(OTHER, "ray stop --force", check=False)
    assert (OTHER in alive) == enters


@who
def test_a_client(lab: Lab, head: str, with_what: str, enters: bool):
    printed = lab.on_host(HEAD, f'{with_what} timeout 90 python -c "{JOIN}"', check=False)
    assert ("joined" in printed) == enters


@pytest.mark.parametrize(
    ("token", "code"), [("$(cat /root/token)", 200), ("", 401), (32 * "0", 403)], ids=["token", "none", "wrong"]
)
def test_the_jobs_api(lab: Lab, head: str, token: str, code: int):
    (lab.folder / "ask.py").write_text(ASK)
    lab.copy_to_host(HEAD, lab.folder / "ask.py", "/root/ask.py")
    assert lab.on_host(HEAD, f'python /root/ask.py "{token}"').split()[-1] == str(code)


def test_a_sweep_refuses_a_cluster_without_a_token_unless_it_is_told_to_use_it(lab: Lab, head: str):
    lab.on_host(OTHER, f"RAY_AUTH_MODE=disabled {START} --head --port=6379 --dashboard-host=127.0.0.1")
    sweep = (
        f"cd {REPOSITORY} && PYTHONPATH=. python -m grokray sweep {SEARCH_SPACE} --address {OTHER}:6379 --out /root/out"
        " --num-trials 1 --set parameters.num_steps=100 --set seeds=[0]"
    )
    printed = lab.on_host(OTHER, f"{sweep} 2>&1; echo exit code $?", seconds=300)
    assert "without a token" in printed
    assert printed.split()[-1] == "2"
    assert "exists" not in lab.on_host(OTHER, "test -e /root/out/journal && echo exists", check=False)

    printed = lab.on_host(OTHER, f"{sweep} --insecure 2>&1; echo exit code $?", seconds=300)
    assert "1 of 1 trial ended" in printed
    assert printed.split()[-1] == "0"
    lab.on_host(OTHER, "ray stop --force", check=False)


def nodes(lab: Lab) -> list[dict[str, str]]:
    printed = lab.on_host(HEAD, f"{RIGHT} ray list nodes --format json")
    return json.loads(printed[printed.find("[") :])
