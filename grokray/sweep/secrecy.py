"""Keys stay in the environment where they are.

Tune copies the driver's AWS keys into the runtime_env of each actor that it starts. There they stand in Ray's records
and logs, and on the command line of the process that sets the actor up, which every user of the node can read. Nodes
have credentials of their own: a profile, their environment, or a file.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock


def without_keys() -> AbstractContextManager[Any]:
    """While this holds Tune hands no keys on."""
    from ray.tune.execution import class_cache

    harmless = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}
    return mock.patch.object(class_cache, "ENV_VARS_TO_PROPAGATE", harmless)
