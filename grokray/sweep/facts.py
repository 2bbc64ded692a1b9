"""What a machine is like, as plain data, so that it can be asked of every node of a cluster. Judges nothing."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from grokray.sweep.versions import code, versions
from grokray.wording import first_line

# Files with secrets, and the variables that say that they lie elsewhere.
SECRET_FILES = {
    "~/.ray/auth_token": "RAY_AUTH_TOKEN_PATH",
    "~/.aws/credentials": "AWS_SHARED_CREDENTIALS_FILE",
    "~/.netrc": "NETRC",
}
_LISTENING = "0A"  # in /proc/net/tcp


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`modes`: of each file with secrets that exists, its permission bits; `code`: 8 hexadecimal digits of grokray's
    own source; `torch_gpus`: those that torch can use, `ray_gpus`: those that Ray would offer; `auth_mode` is what
    RAY_AUTH_MODE says, `has_token` whether Ray would find a token here; `torch_error` is why torch cannot be loaded."""

    host: str
    versions: dict[str, str]
    code: str
    modes: dict[str, int]
    auth_mode: str | None
    has_token: bool
    ray_gpus: int
    torch_gpus: int
    compiler: bool
    torch_error: str | None = None


def facts() -> Facts:
    """Of the machine that this runs on. Loads torch, and shows this process GPUs that Ray hid from it."""
    from grokray.sweep.guard import has_token

    _show_hidden_gpus()
    torch_error = _torch_error()
    return Facts(
        host=socket.gethostname(),
        versions=versions(),
        code=code(),
        modes=file_modes(),
        auth_mode=os.environ.get("RAY_AUTH_MODE"),
        has_token=has_token(),
        ray_gpus=_ray_gpus(),
        torch_gpus=0 if torch_error else _torch_gpus(),
        compiler=torch_error is None and _has_compiler(),
        torch_error=torch_error,
    )


def file_modes() -> dict[str, int]:
    """Permission bits of the files with secrets, by name as a person would write it; those that exist."""
    found = {}
    for usual, variable in SECRET_FILES.items():
        name = os.environ.get(variable) or usual
        try:
            found[name] = stat.S_IMODE(Path(name).expanduser().stat().st_mode)
        except (OSError, RuntimeError):  # not there, or no home
            continue
    return found


def listens_on(port: int) -> list[str]:
    """The addresses of this machine on which a TCP port is open: `["127.0.0.1"]`, or `["0.0.0.0"]` for all."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for local, _, state in (line.split()[1:4] for line in lines):
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                found.add(_address(address))
    return sorted(found)


def _address(hexadecimal: str) -> str:
    """`0100007F` → `127.0.0.1`: the kernel writes words of four bytes, each the other way round."""
    raw = bytes.fromhex(hexadecimal)
    turned = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, turned)


def _show_hidden_gpus() -> None:
    """Ray hides GPUs from whoever asked for none, as who only looks does. Before anything counts them: Ray's count and
    torch's read the variable, and torch remembers what it found."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]


def _ray_gpus() -> int:
    from ray._private.accelerators import NvidiaGPUAcceleratorManager

    return NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()


def _torch_error() -> str | None:
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:  # a library that it was built for is missing
        return first_line(error)
    return None


def _has_compiler() -> bool:
    from grokray.engine.payoff import has_compiler

    return has_compiler()


def _torch_gpus() -> int:
    import torch

    return torch.cuda.device_count()
