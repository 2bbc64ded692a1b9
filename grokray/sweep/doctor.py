"""What is wrong with a machine or a cluster before a sweep finds out: pure functions from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from grokray.sweep.facts import Facts
from grokray.wording import count

Level = Literal["ok", "warning", "fault"]
HERE = "this machine"
LOOPBACK = ("127.", "::1", "::ffff:127.")
EVERYWHERE = ("0.0.0.0", "::")
# The lock of a folder and a store's signatures compare the clocks of machines.
CLOCK_WARNING_S, CLOCK_FAULT_S = 5.0, 60.0
# Which versions must be those of this machine, and what differs otherwise.
_MUST_BE_EQUAL = ("grokray", "ray")
_SHOWN = ("grokray", "python", "ray", "torch")
_SHOULD_BE_EQUAL = ("torch", "pyarrow", "optuna")


class Software(Protocol):
    """As of Facts: versions by package, and grokray's own source."""

    @property
    def versions(self) -> dict[str, str]: ...

    @property
    def code(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`where` is a machine; `cure` says what to do, of all that is not ok."""

    check: str
    level: Level
    text: str
    cure: str = ""
    where: str = HERE


def of_machine(f: Facts, where: str = HERE) -> Iterator[Finding]:
    """What one machine shows by itself."""
    yield from _modes(f, where)
    if f.torch_error:
        text, cure = f"torch cannot be loaded: {f.torch_error}", "Install torch anew (pytorch.org)."
        yield Finding(check="torch", level="fault", text=text, cure=cure, where=where)
        return
    yield _gpus(f, where)
    yield _compiler(f, where)


def of_token_here(f: Facts) -> Finding:
    """Without a cluster: an embedded Ray guards itself, so a token is wanted for clusters only."""
    if f.has_token:
        return Finding(check="token", level="ok", text="there is a token for clusters")
    if f.auth_mode == "token":
        text, cure = "RAY_AUTH_MODE is token, but there is no token: Ray would not start", TOKEN_CURE
        return Finding(check="token", level="fault", text=text, cure=cure)
    return Finding(check="token", level="ok", text="no token, which only clusters need")


def of_versions(f: Software, mine: Software | None = None, where: str = HERE) -> Iterator[Finding]:
    """A node's versions against those of this machine; without `mine` just what they are."""
    shown = ", ".join(f"{name} {f.versions[name]}" for name in _SHOWN if name in f.versions)
    faults = [] if mine is None else [*_mismatches(f, mine, where)]
    yield from faults or [Finding(check="versions", level="ok", text=shown, where=where)]


def other_code(where: str) -> Finding:
    text, cure = "the code of grokray is not this machine's", "ray up -y CLUSTER copies it anew"
    return Finding(check="versions", level="fault", text=text, cure=cure, where=where)


def of_clock(offset_s: float, where: str) -> Finding:
    """`offset_s`: how far that clock is ahead of ours."""
    size = abs(offset_s)
    if size < CLOCK_WARNING_S:
        text = f"the clock is within {CLOCK_WARNING_S:.0f} s of this machine's"
        return Finding(check="clock", level="ok", text=text, where=where)
    text = f"the clock is {size:.1f} s {'ahead of' if offset_s > 0 else 'behind'} this machine's"
    level: Level = "warning" if size < CLOCK_FAULT_S else "fault"
    cure = "Have both set by NTP (chrony): locks and a store's signatures compare times."
    return Finding(check="clock", level=level, text=text, cure=cure, where=where)


def of_doors(control: Sequence[str], dashboard: Sequence[str], *, guarded: bool) -> Iterator[Finding]:
    """On which addresses of the head Ray's control service and the dashboard with its Jobs API listen."""
    for name, addresses in (("control service", control), ("dashboard", dashboard)):
        if not addresses:
            continue
        is_inner = all(address.startswith(LOOPBACK) for address in addresses)
        where = "every interface" if {*addresses} & {*EVERYWHERE} else _list(addresses)
        text = f"the {name} listens on {where}"
        if is_inner or (guarded and name == "control service"):
            yield Finding(check="doors", level="ok", text=text + (", and asks for a token" if guarded else ""))
        elif guarded:
            cure = "ray start --head --dashboard-host=127.0.0.1; `grokray submit --cluster` comes by ssh."
            yield Finding(check="doors", level="warning", text=text + ", and asks for a token", cure=cure)
        else:
            yield Finding(check="doors", level="fault", text=text + ", without a token", cure=GUARD_CURE)


def of_gpus_offered(f: Facts, offered: int, where: str) -> Finding | None:
    """What Ray has for its actors on that node against what torch finds there."""
    if offered <= f.torch_gpus:
        return None
    text = f"Ray offers {offered} GPUs, but torch can use {f.torch_gpus}"
    return Finding(check="gpu", level="fault", text=text, cure=TORCH_CURE, where=where)


TOKEN_CURE = "umask 077; ray get-auth-token --generate"
GUARD_CURE = "Set RAY_AUTH_MODE=token in the environment of `ray start` on every node."
TORCH_CURE = "Install a CUDA build of torch that fits the driver (pytorch.org), or start Ray with --num-gpus=0."


def _modes(f: Facts, where: str) -> Iterator[Finding]:
    for name, mode in f.modes.items():
        if mode & 0o077:
            text = f"{name} has mode {mode:04o}: other users of the machine can read it"
            yield Finding(check="secrets", level="fault", text=text, cure=f"chmod 600 {name}", where=where)
    if not any(mode & 0o077 for mode in f.modes.values()):
        names = _list([*f.modes]) if f.modes else "no files with secrets"
        text = f"{names}: for their owner only" if f.modes else names
        yield Finding(check="secrets", level="ok", text=text, where=where)


def _gpus(f: Facts, where: str) -> Finding:
    if f.torch_gpus < f.ray_gpus:
        text = f"there are {f.ray_gpus} GPUs, but torch can use {f.torch_gpus}"
        return Finding(check="gpu", level="fault", text=text, cure=TORCH_CURE, where=where)
    text = f"torch can use {count(f.torch_gpus, 'GPU')}" if f.torch_gpus else "no GPU"
    return Finding(check="gpu", level="ok", text=text, where=where)


def _compiler(f: Facts, where: str) -> Finding:
    if f.compiler:
        return Finding(check="compiler", level="ok", text="a C++ compiler", where=where)
    text, cure = "no C++ compiler: on a CPU everything runs eagerly, which is slower", "apt-get install g++, or set CXX"
    return Finding(check="compiler", level="warning", text=text, cure=cure, where=where)


def _mismatches(f: Software, mine: Software, where: str) -> Iterator[Finding]:
    for name in _MUST_BE_EQUAL:
        if f.versions.get(name) != mine.versions.get(name):
            yield _version(name, f, mine, where, "fault")
    if f.versions.get("grokray") == mine.versions.get("grokray") and f.code != mine.code:
        yield other_code(where)
    python, here = f.versions["python"], mine.versions["python"]
    if python != here:
        is_other = python.split(".")[:2] != here.split(".")[:2]
        yield _version("python", f, mine, where, "fault" if is_other else "warning")
    for name in _SHOULD_BE_EQUAL:  # 2.13.0+cpu and 2.13.0+cu130 are one version
        if f.versions.get(name, "").partition("+")[0] != mine.versions.get(name, "").partition("+")[0]:
            yield _version(name, f, mine, where, "warning")


def _version(name: str, f: Software, mine: Software, where: str, level: Level) -> Finding:
    has, here = f.versions.get(name, "missing"), mine.versions.get(name, "missing")
    cure = f"Install {name} {here} there, or {has} here."
    return Finding(check="versions", level=level, text=f"{name} is {has}, here {here}", cure=cure, where=where)


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)
