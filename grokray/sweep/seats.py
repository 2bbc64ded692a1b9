"""How many trials fit in the memory of one engine's device. Loads torch and Ray, so only where an engine is."""

from __future__ import annotations

from typing import Any

import ray

from grokray.records.store import Store
from grokray.sweep.inputs import at_hand
from grokray.trial import TrialConfig

SHARE = 0.5  # of the memory; the rest is for what a step needs, the tables, evaluations and checkpoints


def seats_that_fit(seats: int, sample: tuple[dict[str, Any], ...], device: str, store: Store) -> int:
    """As many of `seats` as fit, at least one, if every trial is as large as the largest of the configs in `sample`;
    `store` is the sweep's folder."""
    return max(min(seats, int(SHARE * _memory(device) / _largest(sample, store))), 1)


def _largest(sample: tuple[dict[str, Any], ...], store: Store) -> int:
    """Bytes that the largest trial keeps from step to step."""
    from grokray.engine.memory import state_bytes
    from grokray.engine.shape import shape_of
    from grokray.tasks.dataset import build_dataset

    configs = (TrialConfig.model_validate(at_hand(store, config)) for config in sample)
    return max(state_bytes(shape_of(build_dataset(config))) for config in configs)


def _memory(device: str) -> float:
    """Bytes of this engine: what is free of its GPU, or its part of what Ray counts as the node's memory."""
    if device == "cuda":
        import torch

        from grokray.engine.memory import cuda_free

        return cuda_free(torch.device(device))()
    here = ray.get_runtime_context().get_node_id()
    resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here)
    return resources.get("memory", float("inf")) / max(resources.get("CPU", 1.0), 1.0)
