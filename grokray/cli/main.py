"""The console script: arguments in, an exit code out, and the one place where errors become messages.

0 done · 1 it failed · 2 the input cannot be used · 3 the folder is in use · 70 a defect of grokray · 130 interrupted
"""

from __future__ import annotations

# What takes time to load is loaded inside `main`: a Ctrl-C before it would end in a traceback.
import codecs
import os
import sys

TYPE_CHECKING = False  # typing itself takes time to load
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from grokray.cli.invocation import Invocation
    from grokray.errors import GrokrayError

# `errors.INTERRUPTED` again, which is not loaded yet where a Ctrl-C comes early.
INTERRUPTED, FAILED, USAGE, DEFECT = 130, 1, 2, 70
# In what PyTorch, the loader of libraries and the system say.
OF_MEMORY = ("can't allocate memory", "out of memory", "failed to map segment", "Cannot allocate memory")
MORE_MEMORY = "Close other programs; `ulimit -v`, or the limit of a container or of a job, may be low."
# Names of ways to write what an encoding does not have.
BYTES_OR_MARK, BYTES_OR_NUMBER = "grokray.bytes_or_mark", "grokray.bytes_or_number"
DIGITS_OF_A_SIZE = 5  # of the screen, in characters


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # it was closed: whoever did that wants to see nothing
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 until the process ends
    _show_what_can_be_shown()
    _forget_a_screen_of_no_size()
    _find_a_home()
    again, farewell = None, ()
    try:
        from grokray.cli.ending import ending_as_by_ctrl_c
        from grokray.cli.invocation import Invocation

        with ending_as_by_ctrl_c():
            invocation = Invocation(words)
            code = _answer(invocation, words)
            again = invocation.resume_command if invocation.resumable else None
            farewell = invocation.farewell
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Else `python -m`, having seen Ctrl-C leave an `exec`, as of a data class, ends by the signal and not with 130.
        exec("")
        _say(*(farewell or ["interrupted", *([f"go on with: {again}"] if again else [])]))
    if argv is None and "grokray.tracking.feeder" in sys.modules:
        from grokray.cli.ending import leave_in_spite_of_trackers

        leave_in_spite_of_trackers(code)
    return code


def _show_what_can_be_shown() -> None:
    """A terminal without a character is shown a question mark in its place, or its number where it is an error that is
    told: nothing ends for that. What of a name is none in this locale goes out in the bytes that it came in."""
    codecs.register_error(BYTES_OR_MARK, lambda error: _bytes_as_they_came(error, codecs.replace_errors))
    codecs.register_error(BYTES_OR_NUMBER, lambda error: _bytes_as_they_came(error, codecs.backslashreplace_errors))
    if hasattr(sys.stdout, "reconfigure"):
        if not _is_utf8(sys.stdout):
            sys.stdout.reconfigure(errors=BYTES_OR_MARK)  # pyright: ignore
        elif sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="replace")  # pyright: ignore
    if hasattr(sys.stderr, "reconfigure") and not _is_utf8(sys.stderr):
        sys.stderr.reconfigure(errors=BYTES_OR_NUMBER)  # pyright: ignore


def _is_utf8(stream: Any) -> bool:
    return str(stream.encoding).lower() == "utf-8"


def _bytes_as_they_came(error: UnicodeError, otherwise: Callable) -> tuple[str | bytes, int]:
    """For `codecs.register_error`: Python takes a byte that is no character of the locale for one beyond U+DC00."""
    assert isinstance(error, UnicodeEncodeError)
    code, error.end = ord(error.object[error.start]), error.start + 1
    return (bytes([code - 0xDC00]), error.end) if 0xDC80 <= code <= 0xDCFF else otherwise(error)


def _forget_a_screen_of_no_size() -> None:
    """COLUMNS=0, as some programs that start others have it, is no width: nothing would be printed. Nor are millions,
    which would take the memory."""
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "1")
        if not (size.isdecimal() and len(size) <= DIGITS_OF_A_SIZE and int(size)):
            del os.environ[name]


def _find_a_home() -> None:
    """A user without a name, as in a container, may have none. Ray wants one, and so do the kernels."""
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/"


def _answer(invocation: Invocation, words: list[str]) -> int:
    from grokray.errors import GrokrayError

    debug = "--debug" in words or os.environ.get("GROKRAY_DEBUG", "") not in ("", "0")
    try:
        code = _run(invocation, [word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return 1
    except OSError as error:
        if not _output_is_lost():
            return _unforeseen(error, debug)
        _say(f"error: cannot write to standard output: {error.strerror}")
        _discard_output()
        return USAGE
    except UnicodeEncodeError as error:
        if "surrogates" not in error.reason:
            return _unforeseen(error, debug)
        _say(f"error: {error.object} is no name in the encoding of this terminal, {sys.getfilesystemencoding()}")
        _say("hint: set PYTHONUTF8=1, or use a name in UTF-8")
        return USAGE
    except GrokrayError as error:
        _say(*_lines(error))
        if debug:
            _say(_traceback(error))
        return error.exit_code
    except Exception as error:
        # Pydantic tells of whatever happens while a model is defined as its own error.
        if _behind(error, KeyboardInterrupt, "KeyboardInterrupt"):
            return INTERRUPTED
        return _unforeseen(error, debug)


def _behind(error: BaseException | None, kind: type[BaseException], *words: str) -> BaseException | None:
    """The error of this kind that is behind another one; libraries tell of some as of their own, in these words."""
    while error is not None:
        if isinstance(error, kind) or any(word in str(error) for word in words):
            return error
        error = error.__cause__ or error.__context__
    return None


def _unforeseen(error: Exception, debug: bool) -> int:
    from grokray.wording import in_a_line

    if debug:
        raise error
    if lack := _behind(error, MemoryError, *OF_MEMORY):
        _say(f"error: there is not enough memory: {in_a_line(lack)}", f"hint: {MORE_MEMORY}")
        return FAILED
    _say(*_defect(error))
    return DEFECT


def _run(invocation: Invocation, words: list[str]) -> int:
    from signal import SIGTERM

    from grokray.cli.app import COMMANDS, make_command
    from grokray.cli.usage import ABORT, USAGE_ERROR, explain

    _require_working_directory()
    command, words = make_command(words)
    try:
        code = command.main(args=words, prog_name="grokray", standalone_mode=False, obj=invocation)
    except USAGE_ERROR as error:
        _say(*explain(error, words, COMMANDS))
        return USAGE
    except ABORT:
        return INTERRUPTED
    except SystemExit as end:  # rich ends a process whose reader has gone like this, and Ray one that gets SIGTERM
        return INTERRUPTED if end.code == SIGTERM else end.code if isinstance(end.code, int) else 1
    return code or 0


def _require_working_directory() -> None:
    from grokray.errors import FolderError

    try:
        os.getcwd()
    except FileNotFoundError:
        raise FolderError("the working directory has been deleted", hint="change to another one") from None


def _lines(error: GrokrayError) -> list[str]:
    from grokray.errors import ConfigError

    messages = error.problems if isinstance(error, ConfigError) else [error]
    hint = [f"hint: {error.hint}"] if error.hint else []
    return [*(f"error: {message}" for message in messages), *hint]


def _defect(error: Exception) -> list[str]:
    import tempfile

    from grokray.wording import in_a_line

    lines = [f"internal error: {in_a_line(error)}; this is a defect"]

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="grokray-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(_traceback(error))
    except OSError:
        return lines
    return [*lines, f"traceback: {file.name}"]


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def _say(*lines: str) -> None:
    text = "\n".join(lines)
    if sys.stderr is not None and _is_utf8(sys.stderr):
        text = text.encode("utf-8", BYTES_OR_NUMBER).decode("utf-8", "replace")
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody listens any more
        return


def _output_is_lost() -> bool:
    """Whether nothing can be printed, as to a full disk. To find out, a line's end is."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except (OSError, ValueError):
        return True
    return False


def _discard_output() -> None:
    """Nothing more can be written, and the interpreter shall not complain about that at its exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
