"""Imports beside Ray's start: Ray itself comes before them."""

from __future__ import annotations

import threading

from grokray.sweep import ahead


def test_ray_is_imported_before_the_thread_starts(monkeypatch):
    # An import beside Ray's puts back the warnings that one of Ray's libraries silences while it is loaded.
    done = threading.Event()
    imported = []

    def import_module(name):
        imported.append((name, threading.current_thread() is threading.main_thread()))
        if name == ahead.MODULES[-1]:
            done.set()

    monkeypatch.setattr(ahead, "import_module", import_module)
    ahead.import_ahead()
    assert done.wait(10)
    assert imported == [("ray", True), *((name, False) for name in ahead.MODULES)]
