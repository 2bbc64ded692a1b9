"""What must be true of every node of a cluster, as seen on the node itself."""

from __future__ import annotations

from tests.cluster.lab.lab import Lab
from tests.cluster.lab.rgw import SECRET_KEY


def check_node(lab: Lab, ip: str) -> None:
    """The store's key lies nowhere, the token is its user's alone, and the dashboard is not reached from outside."""
    pattern = f"{SECRET_KEY[:-1]}[{SECRET_KEY[-1]}]"  # does not find itself
    places = "~/grokray ~/.ray ~/.bashrc ~/.grokray_env ~/ray_bootstrap_config.yaml /tmp/ray /proc/[0-9]*/environ"
    found = lab.on_host(ip, f"test ! -e ~/.aws && grep -lsrE '{pattern}' {places} /proc/[0-9]*/cmdline; true")
    assert found.split() == []
    assert lab.on_host(ip, "stat --format %a ~/.ray ~/.ray/auth_token").split() == ["700", "600"]
    listening = lab.on_host(ip, "ss --no-header --listening --tcp --numeric").splitlines()
    addresses = [line.split()[3] for line in listening]
    assert [address for address in addresses if address.endswith(":8265")] in ([], ["127.0.0.1:8265"])
