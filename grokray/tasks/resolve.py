"""The door: parameters as a user writes them, in; a TrialConfig in which every value is resolved, out.

All that a user can get wrong in a trial is found here, all of it at once, and nothing is checked again further in.
Equal trials get equal configs: what a task has no use for is dropped (the base of a classification, the modulus of a
plain operation), and a default that is written out is the same as none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from grokray.errors import ConfigError
from grokray.tasks.arc_door import FIELDS as ARC_FIELDS
from grokray.tasks.checks import check_heads, check_precision, refuse
from grokray.tasks.draft import DEFAULTS, Draft
from grokray.tasks.expressions import ExpressionError
from grokray.tasks.families import FAMILIES, family_of
from grokray.tasks.file_door import FIELDS as FILE_FIELDS
from grokray.tasks.groups import GROUPS
from grokray.tasks.operations import ALIASES, EXPRESSION, OPERATIONS, Alias, expressed, of_group, split_names
from grokray.trial import ALL_PARTS, LISTS_OF_PARTS, MODEL_PARTS, SEEDS, TrialConfig, as_names
from grokray.wording import nearest, show

MAX_TASKS = 32
# Of operations that other ones have no use for the parameters of.
OWN_FIELDS = {"arc": ARC_FIELDS, "file": FILE_FIELDS}
# Parameters that mean something only beside some values of another one.
USED_BY = {
    ("gradient_filter", ("grokfast_ema",)): ("grokfast_alpha", "grokfast_lambda"),
    ("optimizer", ("adamw", "adam", "muon")): ("beta2", "epsilon"),
    ("learning_rate_schedule", ("linear", "cosine")): ("learning_rate_end",),
    # All that do not name embeddings, as `trial.as_names` spells them.
    ("frozen_parts", (None, "blocks", "head", "blocks,head")): ("embedding_learning_rate", "embedding_weight_decay"),
}
# What weights that are drawn need, and those of a checkpoint do not.
DRAWN = ("init_scale", "embedding_scale")
# And the other way round.
OF_CHECKPOINTS = ("initial_checkpoint_hash", "initial_optimizer", "initial_parts")
OF_RESIDUES, OF_PROBABILITIES = "fourier_gini", "softmax_collapse"
# What the original's names stand for in a trial's config.
CLEAR_NAMES = {
    "prime": "modulus",
    "max_bit_length_train": "operand_limit",
    "max_bit_length_val_out": "operand_limit_out",
}
IN_ANOTHER_FORM = ("operation", "measure")  # are kept, though perhaps not as they were written


def resolve(parameters: Mapping[str, Any]) -> TrialConfig:
    """Parameters to a config, or ConfigError with every problem found. None stands for "not given".

    `{"operation": "x/y", "max_bit_length_train": 97, "max_bit_length_val_out": 100, "seed": 3}` gives operation
    `x/y_mod`, operand_limit 97, operand_limit_out 100, modulus 101 and three seeds of 3. Several operations, as a list
    or parted by commas, are one multitask trial, with or without `multitask: true`.
    """
    draft = Draft(parameters)
    if _take_operation(draft):
        family_of(draft.values["operation"]).resolve(draft)
        for operation, fields in OWN_FIELDS.items():
            if draft.values["operation"] != operation:
                draft.values |= dict.fromkeys(fields)
    check_heads(draft)
    check_precision(draft)
    _take_initial_checkpoint(draft, is_null="initial_checkpoint" in parameters)
    _take_frozen_parts(draft)
    for (name, users), used in USED_BY.items():
        if draft.values.get(name, DEFAULTS[name]) not in users:
            draft.drop(used)
    if draft.problems:
        raise ConfigError(list(dict.fromkeys(draft.problems)))  # several names may have the same fault
    return TrialConfig(**_with_seeds(draft))


def _take_initial_checkpoint(draft: Draft, *, is_null: bool) -> None:
    """What it holds is looked at in `grokray.sweep.initial`: the door does without torch. `is_null`: where there is
    none, it was said so, as one of a search space's values."""
    path = draft.values.get("initial_checkpoint")
    parts = draft.values["initial_parts"] = as_names(draft.values.get("initial_parts", ALL_PARTS), MODEL_PARTS)
    if not path and not is_null and draft.sound("initial_checkpoint"):
        refuse(draft, "initial_optimizer", "checkpoint", "but must be zero where no initial_checkpoint is given")
        if parts != ALL_PARTS:
            draft.object_to("initial_parts", "but means nothing where no initial_checkpoint is given")
    if not path:
        draft.drop(OF_CHECKPOINTS)
        return
    if parts != ALL_PARTS:
        rule = "but must be zero where initial_parts does not name all parts of the model"
        refuse(draft, "initial_optimizer", "checkpoint", rule)
    draft.drop(DRAWN if parts == ALL_PARTS else DRAWN[1:] if "embeddings" in parts else ())
    if "://" not in path:
        draft.values["initial_checkpoint"] = os.path.abspath(os.path.expanduser(path))


def _take_frozen_parts(draft: Draft) -> None:
    if "frozen_parts" in draft.values:
        draft.values["frozen_parts"] = as_names(draft.values["frozen_parts"], MODEL_PARTS)
    if draft.values.get("frozen_parts") == ALL_PARTS:
        draft.object_to("frozen_parts", f"but must leave out one of {', '.join(MODEL_PARTS)}, or nothing is trained")


def left_out(parameters: Mapping[str, Any], config: TrialConfig) -> set[str]:
    """Which of the parameters that `config` was resolved from were given, but are of no use to it: the base of a
    classification, say, or `measure fourier_gini` of what is none modulo p."""
    unused = set()
    for name, given in parameters.items():
        kept = getattr(config, CLEAR_NAMES.get(name, name), given)
        given = as_names(given, MODEL_PARTS) if name in LISTS_OF_PARTS else given
        is_default = kept is None or (name in TrialConfig.model_fields and kept == DEFAULTS[name])
        if given is not None and is_default and kept != given and name not in IN_ANOTHER_FORM:
            unused.add(name)
    if OF_RESIDUES in config.measures and (config.modulus is None or config.task_type != "classification"):
        unused.add(f"measure {OF_RESIDUES}")
    if OF_PROBABILITIES in config.measures and config.loss == "mse":
        unused.add(f"measure {OF_PROBABILITIES}")
    return unused


def instead(name: str, config: TrialConfig) -> str:
    """What may have been meant by a parameter that is left out, to be said after it: `: x+y is plain, and x+y_mod
    modulo it`, or nothing."""
    plain = [one for one in split_names(config.operation) if f"{one}_mod" in OPERATIONS]
    if CLEAR_NAMES.get(name, name) != "modulus" or not plain:
        return ""
    return f": {plain[0]} is plain, and {plain[0]}_mod modulo it"


def _take_operation(draft: Draft) -> bool:
    """Whether all operations are known; their clear names, and what an alias implies, go into the draft's values."""
    if not draft.sound("operation"):
        return False
    given = draft.given.get("operation", DEFAULTS["operation"])
    names = split_names(given)
    if len(names) > 1 and "" in names:
        draft.add("operation", f"operation is {show(given)}, but must name an operation on either side of each comma")
        names = [name for name in names if name]
    if len(names) > 1 and draft.given.get("multitask") is False:
        draft.add("multitask", f"multitask is false, but operation names {len(names)}: {', '.join(names)}")
    if len(names) > MAX_TASKS:
        draft.add("operation", f"operation names {len(names):,} operations, but must name at most {MAX_TASKS}")
        return False
    found = [_take_name(draft, name) for name in names]
    known = [name for name in found if name is not None]
    if twice := next((name for place, name in enumerate(known) if name in known[:place]), None):
        draft.add("operation", f"operation is {show(','.join(names))}, but must name each once; {twice} is named twice")
    elif len(known) > 1 and (alone := next((name for name in known if name in FAMILIES), None)):
        draft.add("operation", f"operation is {show(','.join(names))}, but {alone} is learned alone")
    draft.values["operation"] = ",".join(known)
    return draft.sound("operation")


def _take_name(draft: Draft, name: str) -> str | None:
    """One operation's clear name, or None where there is none of this name."""
    alias = ALIASES.get(name, Alias(operation=name))
    for field, value in alias.implied.items():
        if draft.given.get(field, value) != value:
            draft.add(field, f"{field} is {show(draft.given[field])}, but operation {name} means {value}")
        elif draft.values.get(field, value) != value:
            draft.add("operation", f"operation {name} means {field} {value}, but another means {draft.values[field]}")
    draft.values = {**alias.suggested, **draft.values, **alias.implied}
    if alias.operation.startswith(EXPRESSION):
        try:
            return expressed(alias.operation).name
        except ExpressionError as error:
            draft.add("operation", f"operation is {show(name)}, {error}")
            return None
    if alias.operation not in {**OPERATIONS, **FAMILIES} and of_group(name) is None:
        draft.add("operation", f"operation is {show(name)}, but there is no such operation{_others(name)}")
        return None
    return alias.operation


def _others(name: str) -> str:
    """What a name that is none may have meant: the groups, the nearest name, or any."""
    if re.match("[sad][0-9]", name, re.IGNORECASE):
        return f"; groups are {GROUPS}, each also with _conjugate or _aba"
    every = [*(o.name for o in OPERATIONS.values() if o.kind != "group"), *FAMILIES]
    all_of_them = f"; there are {', '.join(every)}, {GROUPS} (also with _conjugate or _aba) and {EXPRESSION}FORMULA"
    return nearest(name, [*OPERATIONS, *FAMILIES, *ALIASES]) or all_of_them


def _with_seeds(draft: Draft) -> dict[str, Any]:
    """One `seed` sets all three; one that is given by its own name keeps its value."""
    if "seed" not in draft.given:
        return draft.values
    return {**dict.fromkeys(SEEDS, draft.given["seed"]), **draft.values}
