"""Errors that come from another process."""

from __future__ import annotations

import pickle

import pytest

from grokray import errors
from grokray.errors import ConfigError, GrokrayError, Problem

PROBLEMS = [Problem(message="base is 1", field="base", place="a.yaml:3:1"), Problem(message="no method")]
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GrokrayError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_another_process_says_what_it_said_there(kind):
    error = kind(PROBLEMS if kind is ConfigError else "the folder is gone", hint="look for it")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.hint) == (kind, str(error), "look for it")
    assert getattr(again, "problems", ()) == getattr(error, "problems", ())
