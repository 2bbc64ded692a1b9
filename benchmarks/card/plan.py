"""What is measured, at which sizes. A plan is plain values, so that it travels to other processes as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True, kw_only=True)
class CasePlan:
    """`slots` are the numbers of trials that the engine is measured with, `main` the one that all else is compared at.
    A peer is measured with each of `peer_trials`, or with the first of them: see `rivals`."""

    parameters: dict[str, Any]
    slots: tuple[int, ...]
    main: int
    peer_trials: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rounds` of `slice_s` seconds are the measurement of a contestant. `compile_s`, `jax_s` and `build_s` are about
    what a contestant takes to be compiled, by PyTorch and by JAX, and otherwise made ready: where less time is left it
    is not begun."""

    device: str = "cuda"
    cases: dict[str, CasePlan] = field(default_factory=dict)
    rounds: int = 5
    slice_s: float = 0.5
    compiled: bool = True
    compile_s: float = 25.0
    jax_s: float = 90.0
    build_s: float = 5.0
    products: tuple[int, ...] = (8192, 16384)
    processes: tuple[int, ...] = (1, 2, 4, 8, 16)
    interval: int = 100  # steps from one evaluation to the next: the default of a trial
    every: int = 50  # steps from one trial's leaving to the next one's
    probe_steps: int = 200
    probe_cpu_steps: int = 20
    probe_buckets: tuple[int, ...] = (1, 16, 64)
    collapse_trials: int = 64
    collapse_steps: int = 2500

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Plan:
        cases = {name: CasePlan(**_with_tuples(case)) for name, case in found["cases"].items()}
        return cls(**{**_with_tuples(found), "cases": cases})


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def full_plan(device: str) -> Plan:
    """About 9 minutes of one large GPU. On a CPU it takes hours."""
    sequence = {"operation": "x+y", "task_type": "sequence", "base": 2, "max_bit_length_train": 6}
    cases = {
        "wide": CasePlan(parameters={}, slots=(1, 16, 64, 256, 1024), main=256, peer_trials=(64, 256)),
        "narrow": CasePlan(
            parameters={"dim_model": 32, "batch_size": 64},
            slots=(1, 64, 256, 1024),
            main=1024,
            peer_trials=(256, 1024),
        ),
        "sequence": CasePlan(parameters=sequence, slots=(1, 16, 64, 256), main=64, peer_trials=(16, 64)),
    }
    return Plan(device=device, cases=cases)


def quick_plan(device: str) -> Plan:
    """A rehearsal: every part, at sizes whose numbers mean nothing. On a CPU nothing is compiled: it takes minutes."""
    tiny = {"modulus": 11, "num_layers": 1, "dim_model": 16, "num_heads": 2, "batch_size": 16}
    return Plan(
        device=device,
        cases={"tiny": CasePlan(parameters=tiny, slots=(1, 4), main=4, peer_trials=(2,))},
        rounds=2,
        slice_s=0.02,
        compiled=device != "cpu",
        jax_s=20.0,
        build_s=1.0,
        products=(64,),
        processes=(1, 2),
        interval=10,
        every=5,
        probe_steps=20,
        probe_cpu_steps=10,
        probe_buckets=(1, 2, 4),
        collapse_trials=4,
        collapse_steps=60,
    )
