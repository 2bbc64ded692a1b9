"""What a notebook and an editor see of the package."""

from __future__ import annotations

from pathlib import Path

import grokray


def test_names_that_are_loaded_late_can_be_completed():
    assert set(grokray.__all__) <= set(dir(grokray))


def test_the_package_says_that_it_has_types():
    assert (Path(grokray.__file__).parent / "py.typed").is_file()
