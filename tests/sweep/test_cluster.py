from __future__ import annotations

import os
import subprocess
import sys

import pytest
import ray

pytestmark = pytest.mark.ray

JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='CRITICAL'); print('joined')"


def test_nobody_without_the_sessions_token_reaches_the_embedded_ray(ray_up):
    address = ray.get_runtime_context().gcs_address
    with_token = dict(os.environ)
    without = {name: value for name, value in with_token.items() if not name.startswith("RAY_AUTH")}
    joined = {}
    for who, environment in (("owner", with_token), ("stranger", without)):
        process = subprocess.run(
            [sys.executable, "-c", JOIN, address], env=environment, capture_output=True, text=True, timeout=120
        )
        joined[who] = "joined" in process.stdout
    assert joined == {"owner": True, "stranger": False}


def test_an_address_where_nothing_answers_is_one_clear_error():
    script = (
        "from grokray.sweep.cluster import ray_cluster\n"
        "from grokray.errors import ExecutionError\n"
        "try:\n"
        "    with ray_cluster('127.0.0.1:1'): pass\n"
        "except ExecutionError as error: print('MESSAGE', error)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "MESSAGE no Ray cluster answers at 127.0.0.1:1" in process.stdout
