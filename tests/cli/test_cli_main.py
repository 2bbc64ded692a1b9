"""The entry: help, version, exit codes, and what errors look like."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from grokray.cli.app import make_command
from grokray.cli.main import main
from grokray.errors import ConfigError, FolderBusy, Problem

HEAVY = ("torch", "ray", "optuna", "scipy", "wandb", "pyarrow", "numpy", "pandas")


@pytest.fixture
def failing(monkeypatch):
    """Makes `grokray schema` raise the given exception."""

    def set_up(error):
        def schema_text():
            raise error

        monkeypatch.setattr("grokray.sweep.schema.schema_text", schema_text)

    return set_up


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["sweep", "--help"], ["status", "-h"], []])
def test_help_and_version_load_nothing_heavy(words):
    code = (
        f"import json, sys; from grokray.cli.main import main; code = main({words!r});"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules] + [code]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "grokray 0.1.0\n"


def test_help_names_every_command(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in ("sweep", "train", "status", "collect", "schema"))


def test_python_m_grokray_ends_with_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "grokray", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such command: nonsense\n")


def test_an_interruption_that_a_library_tells_as_its_own_error_is_one(failing, capsys):
    error = ValueError("core schema: KeyboardInterrupt")
    failing(error)
    assert main(["schema"]) == 130
    error = RuntimeError("while a model was defined")
    error.__cause__ = KeyboardInterrupt()
    failing(error)
    assert main(["schema"]) == 130
    assert "internal error" not in capsys.readouterr().err


def test_a_deleted_working_directory_is_said(tmp_path):
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone && rmdir ../gone && {sys.executable} -m grokray status out"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["error: the working directory has been deleted", "hint: change to another one"],
    )


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["swep", "x.yaml"], "no such command: swep; the nearest is sweep", "grokray --help"),
        (["--nonsense"], "no such option: --nonsense", "grokray --help"),
        (["sweep"], "missing argument 'FILE'", "grokray sweep --help"),
        (["sweep", "x.yaml", "--dry-rn"], "no such option: --dry-rn; the nearest is --dry-run", "grokray sweep --help"),
        (["sweep", "x.yaml", "--ot=y"], "no such option: --ot; the nearest is --out", "grokray sweep --help"),
        (
            ["train", "--dim-modle", "8"],
            "no such option: --dim-modle; the nearest is --dim_model",
            "grokray train --help",
        ),
        (["train", "--num_steps"], "option '--num_steps' requires an argument", "grokray train --help"),
        (["status"], "missing argument 'DIR'", "grokray status --help"),
        (["collect", "a", "b"], "got unexpected extra argument", "grokray collect --help"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_near(words, message, hint, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    error, where = captured.err.splitlines()
    assert error.startswith(f"error: {message}")
    assert where == f"hint: {hint}"
    assert captured.out == ""


def test_every_problem_is_a_line_of_its_own(failing, capsys):
    failing(ConfigError([Problem(message="a is 1", place="f.yaml:1:2"), Problem(message="b is 2")], hint="look"))
    assert main(["schema"]) == 2
    assert capsys.readouterr().err == "error: f.yaml:1:2: a is 1\nerror: b is 2\nhint: look\n"


def test_an_error_brings_its_exit_code(failing, capsys):
    failing(FolderBusy("in use"))
    assert main(["schema"]) == 3
    assert capsys.readouterr().err == "error: in use\n"


def test_debug_shows_where_an_error_came_from(failing, capsys):
    failing(FolderBusy("in use"))
    assert main(["schema", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_want_of_memory_is_no_defect(failing, capsys, error):
    failing(error)
    assert main(["schema"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: there is not enough memory: ")
    assert "ulimit -v" in second


def test_a_defect_is_one_line_and_a_file(failing, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failing(ZeroDivisionError("division by zero\nand more"))
    assert main(["schema"]) == 70
    first, second = capsys.readouterr().err.splitlines()
    assert first == "internal error: ZeroDivisionError: division by zero; this is a defect"
    (file,) = tmp_path.iterdir()
    assert second == f"traceback: {file}"
    assert "schema_text" in file.read_text()


@pytest.mark.parametrize("by", ["option", "environment"])
def test_debug_lets_a_defect_through(failing, monkeypatch, by):
    failing(ZeroDivisionError("x"))
    if by == "environment":
        monkeypatch.setenv("GROKRAY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["schema", "--debug"] if by == "option" else ["schema"])


def test_ctrl_c_is_130(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["schema"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "grokray", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_output_that_cannot_be_written_is_an_error():
    command = [sys.executable, "-m", "grokray", "schema"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, C_LOCALE],
    ids=["ascii", "latin", "C"],
)
def test_a_character_that_the_terminal_does_not_have_ends_nothing(environment):
    code = "import sys; from grokray.cli.main import main; sys.exit(main(sys.argv[1:]) or print('9 \\u00b7 \\u221e'))"
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True)
    shown = done.stdout.decode("latin-1").splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown[0] == "grokray 0.1.0"
    assert shown[1] in ("9 ? ?", "9 · ?")


def test_a_name_that_is_none_in_this_locale_is_one_error(failing, capsys):
    def unwritable():
        return "a/\udcc3\udcb6".encode()

    with pytest.raises(UnicodeEncodeError) as caught:
        unwritable()
    failing(caught.value)
    assert main(["schema"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("error: a/ö is no name in the encoding of this terminal, ")
    assert error[1] == "hint: set PYTHONUTF8=1, or use a name in UTF-8"


def test_a_name_goes_out_in_the_bytes_that_it_came_in(tmp_path):
    (tmp_path / "an ü 目").mkdir()
    command = [sys.executable, "-m", "grokray", "status", f"{tmp_path}/an ü 目"]
    done = subprocess.run(command, env={**os.environ, **C_LOCALE}, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.decode() == f"error: {tmp_path}/an ü 目 is no sweep's folder: it holds no meta.json\n"


def test_whoever_closes_standard_output_sees_nothing():
    command = f"{sys.executable} -m grokray schema >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_schema_is_the_one_that_is_shipped(capsys):
    assert main(["schema"]) == 0
    out = capsys.readouterr().out
    shipped = os.path.join(os.path.dirname(__file__), "../../search_spaces/sweep.schema.json")
    with open(shipped, encoding="utf-8") as file:
        assert json.loads(out) == json.load(file)


def test_nothing_is_loaded_before_a_ctrl_c_is_answered():
    code = "import sys; before = {*sys.modules}; import grokray.cli.main; print(sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = "'grokray', 'grokray.cli', 'grokray.cli.main', 'grokray.version'"
    assert done.stdout.strip() == f"['__future__', {own}]"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_requests_to_end_are_answered_as_ctrl_c_is(name):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from grokray.cli.main import main\n"
        "import grokray.sweep.schema as schema\n"
        f"schema.schema_text = lambda: os.kill(os.getpid(), signal.{name})\n"
        "code = main(['schema'])\n"
        f"sys.exit(code if signal.getsignal(signal.{name}) is signal.SIG_DFL else 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_ctrl_c_in_code_that_a_library_makes_is_130_for_programs_too(tmp_path):
    (tmp_path / "command.py").write_text(
        "import sys\n"
        "import grokray.sweep.schema as schema\n"
        "from grokray.cli.main import main\n"
        "schema.schema_text = lambda: exec('raise KeyboardInterrupt')\n"
        "sys.exit(main(['schema']))\n"
    )
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": root}}
    done = subprocess.run([sys.executable, "-m", "command"], **where, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_ctrl_c_that_comes_in_a_callback_is_heard_all_the_same():
    code = (
        "import os, signal, sys, time\n"
        "from grokray.cli.main import main\n"
        "import grokray.sweep.schema as schema\n"
        "class Thing:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0)\n"
        "def schema_text():\n"
        "    Thing()\n"
        "    time.sleep(20)\n"
        "schema.schema_text = schema_text\n"
        "code = main(['schema'])\n"
        "sys.exit(code if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL else 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("hangs", ["its thread", "its client"])
def test_a_tracker_that_hangs_keeps_no_process_from_its_end(hangs):
    code = (
        "import atexit, os, sys, threading, time\n"
        "from grokray.tracking.feeder import Feeder\n"
        "atexit.register(time.sleep, 100)\n"
        "if sys.argv.pop() == 'its thread': Feeder(lambda: time.sleep(100), [None], print).start()\n"
        "else: sys.modules['wandb'] = os; os.environ['WANDB_SERVICE'] = 'x'\n"
        "from grokray.cli.main import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code, "schem", hangs], capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert "nearest is schema" in done.stderr


def test_what_ray_makes_of_sigterm_is_an_interruption_too(failing):
    failing(SystemExit(15))
    assert main(["schema"]) == 130


@pytest.mark.parametrize("size", ["0", "00", "", "-1", "1e3", "9" * 10, "9" * 5000])
def test_a_screen_of_no_size_is_none(size, space, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    assert main(["--help"]) == main(["sweep", str(space), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", size)
    monkeypatch.setenv("LINES", size)
    assert main(["--help"]) == main(["sweep", str(space), "--dry-run"]) == 0
    assert capsys.readouterr().out == shown


def test_a_user_without_a_name_has_a_home(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert main(["--version"]) == 0
    assert os.environ["HOME"] == "/"


@pytest.mark.parametrize("command", ["sweep", "train", "data", "submit", "fetch"])
@pytest.mark.parametrize("columns", [40, 60, 79, 80])
def test_help_cuts_no_option(command, columns, monkeypatch, capsys):
    """As where the names are short of room rich's tables would: --num-t…"""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    made, _ = make_command([command])
    names = {name for option in made.commands[command].params for name in option.opts if name.startswith("--")}
    assert names
    assert [name for name in names if not re.search(rf"{name}\b", shown)] == []


def test_help_shows_no_type_of_a_flag(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["plot", "--help"]) == 0
    assert "--best" in (said := capsys.readouterr().out)
    assert "bool" not in said
