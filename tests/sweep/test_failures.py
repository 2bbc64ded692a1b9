from __future__ import annotations

import pytest

from grokray.errors import FolderError
from grokray.sweep.failures import Failures
from grokray.sweep.searcher import LedgerCallback


def die(failures, trial, *, times=1, fault="engine", started=True, alone=False, progress=0):
    for _ in range(times):
        failures.count(trial, f"{trial} died", fault=fault, started=started, alone=alone, progress=progress)


def test_own_errors_use_up_the_retries():
    failures = Failures(retries=3)
    die(failures, "a", times=3, fault="trial")
    assert failures.given_up("a") is None
    die(failures, "a", fault="trial")
    assert failures.given_up("a") == "a died"


def test_an_engine_that_dies_uses_up_nobodys_retries_but_makes_suspects():
    failures = Failures(retries=1)
    for _ in range(5):
        for trial in ("innocent", "guilty"):
            die(failures, trial)
    assert failures.given_up("innocent") is None
    assert failures.suspect("innocent")
    assert failures.suspect("guilty")


def test_only_deaths_alone_count_against_a_suspect():
    failures = Failures(retries=1)
    die(failures, "guilty", times=2)
    die(failures, "guilty", times=2, alone=True)
    assert failures.given_up("guilty") == "guilty died"


def test_progress_clears_a_trial_of_suspicion():
    failures = Failures(retries=1)
    die(failures, "a", progress=100)
    die(failures, "a", progress=200)
    assert not failures.suspect("a")
    die(failures, "a", progress=200)
    assert failures.suspect("a")


def test_a_suspect_must_come_twice_as_far_alone_each_time():
    failures = Failures(retries=0)
    die(failures, "a", progress=500)
    assert failures.alone_until("a", 100) is None
    die(failures, "a", progress=500)
    assert failures.alone_until("a", 100) == 600
    failures.clear("a")
    assert not failures.suspect("a")
    die(failures, "a", progress=700)
    assert not failures.suspect("a")
    die(failures, "a", progress=700)
    assert failures.alone_until("a", 100) == 900
    assert failures.given_up("a") is None


def test_who_still_waited_for_its_seat_is_not_to_blame():
    failures = Failures(retries=0)
    die(failures, "a", times=9, started=False, alone=True)
    assert failures.given_up("a") is None


def test_a_node_that_dies_costs_no_retry_and_makes_no_suspect():
    failures = Failures(retries=0)
    die(failures, "a", times=9, fault="node")
    die(failures, "a", times=9, fault="node", alone=True)
    assert failures.given_up("a") is None
    assert not failures.suspect("a")


def test_a_folder_that_cannot_be_used_costs_no_retry():
    failures = Failures(retries=0)
    die(failures, "a", times=9, fault="folder")
    assert failures.given_up("a") is None
    assert not failures.suspect("a")


def test_on_a_cluster_a_few_occasions_in_a_row_are_borne_and_all_of_an_engine_are_one():
    books = LedgerCallback(None, lambda: None, folder_faults=2)  # pyright: ignore[reportArgumentType]
    for now in (0.0, 1.0, 2.0, 100.0, 101.0):
        books.count_folder_fault("FolderError: cannot write x: gone", now)
    with pytest.raises(FolderError, match="^cannot write x: gone") as error:
        books.count_folder_fault("FolderError: cannot write x: gone", 200.0)
    assert error.value.hint.startswith("Run the same command again")
    alone = LedgerCallback(None, lambda: None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(FolderError):
        alone.count_folder_fault("FolderError: cannot write x: gone", 0.0)
