"""Measures of a user's own: the functions of one Python file, `trial.measure_file`. Loads torch only if that does.

    def embedding_norm(trained):
        return trained.model.token_embedding.weight.norm()

Each function that the file itself defines, and whose name does not begin with `_`, is called at every measurement of
every trial with what `grokray.load_model` would give at that step; what it returns is a column of the curves.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grokray.sweep.metrics import CURVE_METRICS
from grokray.tasks.malformed import Malformed
from grokray.trial import MEASURES
from grokray.wording import in_a_line, show

if TYPE_CHECKING:
    from grokray.engine.restored import Restored

FIELD = "measure_file"
LARGEST_FILE = 100_000  # bytes; every process that trains is sent it
LONGEST_FAULT = 300  # characters
MODULE = "grokray_measure_file"
# Columns that curves have already; Arrow, which knows the first ones, takes time to load.
RESERVED = frozenset(("trial_id", "trial_index", "attempt", "step", "wall_time_s", *CURVE_METRICS, *MEASURES))

# Columns of trials, and the table of examples: in a tracker's summary of a run the last point of a curve would take
# their place.
OF_TRIALS = frozenset(
    (
        *("configuration", "seed", "state", "outcome", "phase", "memorization_step", "memorization_step_lower"),
        *("grok_step", "grok_step_lower", "grok_delay", "ungrok_step", "duration_steps", "event_observed"),
        *("censor_reason", "stop_step", "audited", "audit_probability", "steps_trained", "compiled", "error"),
        *(f"final_{name}" for name in CURVE_METRICS),
        *("best_heldout_exact_match", "best_heldout_exact_match_step", "best_heldout_loss"),
        *("grokray_version", "torch_version", "ray_version", "examples"),
    )
)

# A measure's name; of several numbers that it returns the end of a column's name.
_KEY = re.compile(r"[\w.+/-]{1,100}")
RULE = "a name must be of letters, digits and any of _ . + / -"

# A trained model to a number, to several by name, or to none that it has.
Measure = Callable[["Restored"], Any]


@dataclass(frozen=True, kw_only=True)
class MeasureFile:
    """`measures` by name, in the order of the file, which is called `name`."""

    name: str
    measures: Mapping[str, Measure]

    def fault(self, error: BaseException) -> str:
        """What was raised and by which line of the file: `ValueError: no circuit (mine.py:12)`."""
        lines, frame = [], error.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_filename == self.name:
                lines.append(frame.tb_lineno)
            frame = frame.tb_next
        place = f" ({os.path.basename(self.name)}:{lines[-1]})" if lines else ""
        return f"{_said(error)}{place}"


def _said(error: BaseException) -> str:
    """Its class and first line, not too long of one: it is written at every measurement, and wherever faults are."""
    try:
        text = in_a_line(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # classes of the file's own may not be able to say anything
        return type(error).__name__
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= LONGEST_FAULT else f"{text[: LONGEST_FAULT - 1]}…"


def read_text(path: str) -> str:
    """Raises Malformed, as it reads on from "measure_file is x.py, but "."""
    try:
        if not Path(path).is_file():
            raise Malformed(["there is no such file" if not os.path.exists(path) else "is no file"])
        if (size := os.path.getsize(path)) > LARGEST_FILE:
            raise Malformed([f"has {size:,} bytes, but may have at most {LARGEST_FILE:,}"])
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(["is no text in UTF-8"]) from error
    except OSError as error:
        raise Malformed([f"cannot be read: {error.strerror}"]) from error


def measures_in(text: str, name: str) -> MeasureFile:
    """Runs what the file of that name holds. Raises Malformed where that cannot be, or where there is no measure."""
    module = ModuleType(MODULE)
    module.__file__ = name
    sys.modules[MODULE] = module  # dataclasses of the file look themselves up there
    file = MeasureFile(name=name, measures=vars(module))
    try:
        code = compile(text, name, "exec", dont_inherit=True)  # with no `from __future__` of ours
    except SyntaxError as error:
        place = f", line {error.lineno}" if error.lineno else ""
        raise Malformed([f"is no Python: {error.msg}{place}"]) from error
    except ValueError as error:  # bytes of zero
        raise Malformed([f"is no Python: {error}"]) from error
    except (RecursionError, MemoryError) as error:
        raise Malformed(["is nested too deeply"]) from error
    try:
        with as_it_was():
            exec(code, vars(module))
            found = {key: value for key, value in vars(module).items() if _is_measure(key, value)}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # some, such as asyncio's CancelledError, are no Exception
        raise Malformed([f"running it fails: {file.fault(error)}"]) from error
    if faults := [*_faults(found)]:
        raise Malformed(faults)
    return MeasureFile(name=name, measures=found)


@contextmanager
def as_it_was() -> Iterator[None]:
    """What a measure sets for all of torch holds for itself alone: numbers that are trained on are not to change. So
    does the working directory, from which paths that were given start."""
    folder = _working_directory()
    try:
        with _torch_as_it_was():
            yield
    finally:
        if folder is not None and _working_directory() != folder:
            os.chdir(folder)


def _working_directory() -> str | None:
    """None where it has gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    before = _settings(sys.modules.get("torch"))
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        if torch is not None and (now := _settings(torch)) != before:
            # It may have been loaded meanwhile: then as it comes.
            dtype, threads, grad, device, precision, exact = before or (torch.float32, now[1], True, None, "highest", 0)
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
            torch.set_grad_enabled(grad)
            if now[3] != device:
                torch.set_default_device(device)
            if precision is not None:
                torch.set_float32_matmul_precision(precision)
            torch.set_deterministic_debug_mode(exact)


def _settings(torch: Any) -> tuple[Any, ...]:
    if torch is None:
        return ()
    device = torch.get_default_device()
    return (
        *(torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()),
        None if device.type == "cpu" else device,  # that of torch as it comes
        *(_precision(torch), torch.get_deterministic_debug_mode()),
    )


def _precision(torch: Any) -> str | None:
    """None where it was set for one of torch's backends alone, `torch.backends.….fp32_precision`."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _is_measure(name: Any, value: Any) -> bool:
    """Not what the file has imported."""
    named = isinstance(name, str) and not name.startswith("_")
    return named and callable(value) and not isinstance(value, type) and _module_of(value) == MODULE


def _module_of(value: Any) -> Any:
    return _module_of(value.func) if isinstance(value, partial) else getattr(value, "__module__", None)


def _faults(measures: Mapping[str, Measure]) -> list[str]:
    if not measures:
        return ["has no measure: no function of it has a name that does not begin with _"]
    return [fault for name, measure in measures.items() if (fault := _fault(name, measure))]


def _fault(name: str, measure: Measure) -> str | None:
    if name in RESERVED | OF_TRIALS:
        owner = "curves" if name in RESERVED else "trials"
        return f"its function {name} has the name of a column that {owner} have already"
    if not _KEY.fullmatch(name):
        return f"its function is called {show(name)}, but {RULE}"
    try:
        signature = inspect.signature(measure)
    except (TypeError, ValueError):  # it does not tell what it takes
        return None
    try:
        signature.bind(None)
    except TypeError:
        rule = "a measure takes one argument, the trained model; a name that begins with _ is that of no measure"
        return f"its function is {name}{signature}: {rule}"
    return None


def numbers_of(name: str, value: Any) -> dict[str, float]:
    """What a measure of that name returned, by column: `norm` 2.5 gives {norm: 2.5}, {"first": 1} {norm_first: 1}.

    TypeError for anything else than a number, a tensor or an array of one, a dict of such, or None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return {name: _number(value)}
    if unfit := [key for key in map(str, value) if not _KEY.fullmatch(key)]:
        raise TypeError(f"returned {show(unfit[0])}, but {RULE}")
    if len({str(key) for key in value}) < len(value):
        raise TypeError("returned two numbers of one name")
    found = {f"{name}_{key}": _number(one) for key, one in value.items() if one is not None}
    if taken := sorted((RESERVED | OF_TRIALS) & found.keys()):
        raise TypeError(f"{name} returned {show(taken[0].removeprefix(f'{name}_'))}, and {taken[0]} is another column")
    return found


def _number(value: Any) -> float:
    try:
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, Real):
            return float(number)
    except (ValueError, RuntimeError, OverflowError):  # of several numbers, or beyond all floats
        pass
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    raise TypeError(f"returned {type(value).__name__}{shape}, but must return a number, a dict of numbers, or None")
