"""The pool's books, without Ray: what is asked for, who gets a trial, what is closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError

from grokray.errors import ExecutionError, FolderError
from grokray.records.folder import SweepFolder
from grokray.sweep import dead_starts, engine_handle, engines
from grokray.sweep.dead_starts import MAX_DEAD_STARTS
from grokray.sweep.engines import EnginePool, EngineSlot
from grokray.sweep.fit import errors_of_ours_first
from grokray.sweep.introduction import introduced
from grokray.sweep.messages import WorkerOptions
from grokray.sweep.placement import EngineSpec
from grokray.sweep.versions import code, versions


@dataclass
class FakeRay:
    """Answers of actors: a reference that is a key of `answers` has come."""

    answers: dict[str, object] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    def wait(self, references, *, num_returns, timeout):
        return [r for r in references if r in self.answers], []

    def get(self, reference):
        if isinstance(self.answers[reference], Exception):
            raise self.answers[reference]
        return self.answers[reference]

    def kill(self, actor):
        self.killed.append(actor.name)


class FakeActor:
    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, method: str):
        return FakeCall(f"{self.name}.{method}")


class FakeCall:
    def __init__(self, reference: str) -> None:
        self.reference = reference

    def remote(self) -> str:
        return self.reference


@pytest.fixture
def fake_ray(monkeypatch) -> FakeRay:
    fake = FakeRay()
    SAID.reset_mock()
    monkeypatch.setattr(engine_handle, "ray", fake)
    monkeypatch.setattr(engines, "LOOK_S", 0.0)
    monkeypatch.setattr(engines, "LOOK_EACH_S", 0.0)

    def start(self, *, alone):
        number, self._started = self._started, self._started + 1
        return engine_handle.EngineHandle(FakeActor(f"e{number}"), number=number, slots=self.spec.slots)

    monkeypatch.setattr(EnginePool, "_start", start)
    return fake


SAID = Mock()  # what the pool tells


def pool_of(to_run: list[float], **spec) -> EnginePool:
    """`to_run` is a list of one number, so that a test can change it."""
    made = EngineSpec(**({"count": 2, "slots": 3, "line": 2} | spec))
    return EnginePool(made, WorkerOptions(store_uri="unused"), to_run=lambda: to_run[0], say=SAID)


def cluster(to_run: list[float], **spec) -> EnginePool:
    return pool_of(to_run, **({"count": 100, "slots": 10, "line": 0, "elastic": True} | spec))


def take_all(pool: EnginePool) -> list[int]:
    while pool.has_free_slot():
        pool.take()
    return [engine.used for engine in pool._engines]


def test_engines_get_a_line_while_there_are_trials_enough(fake_ray):
    assert take_all(pool_of([100])) == [5, 5]


def test_at_the_end_nobody_stands_in_line_where_another_engine_will_have_seats(fake_ray):
    assert take_all(pool_of([6])) == [3, 3]
    assert take_all(pool_of([14])) == [4, 4]  # of 14, six are kept back


def test_on_one_machine_trials_go_to_engines_that_are_not_up_yet_and_none_is_closed(fake_ray):
    pool = pool_of([1])
    assert take_all(pool) == [3, 3]
    assert not fake_ray.killed
    assert pool.coming() == []


def test_on_a_cluster_so_many_engines_are_asked_for_as_trials_need(fake_ray):
    pool = cluster([95])
    pool.start()
    assert pool.coming() == [f"e{i}.introduce" for i in range(10)]
    pool.start()
    assert len(pool.coming()) == 10
    assert len(cluster([95], count=4)._engines) == 0
    few = cluster([95], count=4)
    few.start()
    assert len(few.coming()) == 4


def test_on_a_cluster_only_engines_that_are_up_get_trials(fake_ray):
    pool = cluster([25])
    assert not pool.has_free_slot()
    assert pool.waits_for_nodes
    fake_ray.answers["e1.introduce"] = {"seats": 10}
    assert take_all(pool) == [0, 10, 0]
    assert not pool.waits_for_nodes
    assert pool.coming() == ["e0.introduce", "e2.introduce"]


def test_an_engine_with_little_memory_has_fewer_seats_and_others_are_asked_for_in_their_place(fake_ray):
    pool = cluster([20])
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 2}, "e1.introduce": {"seats": 10}}
    assert take_all(pool) == [2, 10, 0]
    assert pool.coming() == ["e2.introduce"]
    fake_ray.answers["e2.introduce"] = {"seats": 50}  # no more than it was asked to hold
    assert take_all(pool) == [2, 10, 10]


def test_the_least_full_engine_gets_the_next_trial(fake_ray):
    pool = cluster([12])
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 2}, "e1.introduce": {"seats": 10}}
    pool.look()
    for _ in range(6):
        assert pool.has_free_slot()
        pool.take()
    assert [engine.used for engine in pool._engines][:2] == [1, 5]


def test_a_full_engine_gets_none_however_small_its_share_is(fake_ray):
    """A line of two makes a small engine fuller than a large one ever is."""
    pool = cluster([1000], slots=10, line=2, count=2)
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 1}, "e1.introduce": {"seats": 10}}
    assert take_all(pool) == [3, 12]


def test_engines_that_no_trial_needs_are_closed_those_without_a_node_first(fake_ray):
    to_run = [40.0]
    pool = cluster(to_run)
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 10}, "e1.introduce": {"seats": 10}}
    assert take_all(pool) == [10, 10, 0, 0]
    slots = [engines.EngineSlot(pool, engine) for engine in pool._engines]
    to_run[0] = 20
    pool.look()
    assert sorted(fake_ray.killed) == ["e2", "e3"]
    for _ in range(10):
        pool.give_back(slots[0])
    to_run[0] = 10
    pool.look()
    assert fake_ray.killed[-1] == "e0"
    pool._engines[0].used = 0
    to_run[0] = 1  # one is to run yet, say a trial that failed
    pool.look()
    assert [engine.number for engine in pool._engines] == [1]


@pytest.mark.parametrize("make", [pool_of, cluster])
def test_an_engine_that_died_is_replaced_and_its_process_ended_if_it_is_there_after_all(fake_ray, make):
    pool = make([20], count=2)
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 10}, "e1.introduce": {"seats": 10}}
    pool.look()
    fake_ray.answers["e0.until_death"] = None
    pool.look()
    assert fake_ray.killed == ["e0"]
    assert [engine.number for engine in pool._engines] == [1, 2]


def test_an_engine_that_does_not_answer_gets_nobody_though_ray_does_not_know_yet_that_it_is_dead(fake_ray):
    pool = cluster([20], count=2)
    pool.start()
    fake_ray.answers |= {"e0.introduce": {"seats": 10}, "e1.introduce": {"seats": 10}}
    pool.look()
    pool.lose(pool._engines[0])
    assert take_all(pool) == [10, 0]
    assert fake_ray.killed == ["e0"]
    assert [engine.number for engine in pool._engines] == [1, 2]


def test_engines_that_never_come_up_but_die_end_the_sweep(fake_ray):
    pool = pool_of([20], count=1)
    pool.start()
    for number in range(MAX_DEAD_STARTS - 1):
        fake_ray.answers[f"e{number}.introduce"] = ActorDiedError()
        pool.look()
    fake_ray.answers[f"e{MAX_DEAD_STARTS - 1}.introduce"] = ActorDiedError()
    with pytest.raises(ExecutionError, match=f"{MAX_DEAD_STARTS} engines in a row died before they were up"):
        pool.look()


def test_engines_that_ray_ends_for_want_of_memory_rest_a_while_before_they_end_the_sweep(fake_ray, monkeypatch):
    pool = pool_of([20], count=2)
    pool.start()
    fake_ray.answers |= {f"e{number}.until_death": OutOfMemoryError("killed") for number in range(99)}
    for _ in range(2 * MAX_DEAD_STARTS):  # memory is short for a moment
        pool.look()
    assert pool._engines == []
    SAID.assert_called_once()
    assert "memory is nearly full: their trials go on from their last checkpoints in 30 s" in SAID.call_args[0][0]
    monkeypatch.setattr(dead_starts, "REST_S", 0.0)
    pool._dead_starts._rests_until = 0.0
    with pytest.raises(ExecutionError, match="before they were up: .* memory is nearly full$") as error:
        [pool.look() for _ in range(MAX_DEAD_STARTS)]
    assert "RAY_memory_usage_threshold" in (error.value.hint or "")


def test_the_error_that_ends_the_loop_of_tune_is_told_and_not_what_its_tidying_up_meets():
    def tidied_up():
        try:
            raise ExecutionError("5 engines in a row died")
        except ExecutionError:
            raise ValueError("Tracked actor is not managed by this event manager")  # noqa: B904 as Tune does

    with pytest.raises(ExecutionError, match="5 engines in a row died"), errors_of_ours_first():
        tidied_up()
    with pytest.raises(KeyError), errors_of_ours_first():
        raise KeyError("a defect")


def test_why_they_died_is_said_if_they_could_say_so(fake_ray):
    pool = pool_of([20], count=1)
    pool.start()
    for number in range(MAX_DEAD_STARTS):
        fake_ray.answers[f"e{number}.until_death"] = f"FolderError: not {number}"
    with pytest.raises(ExecutionError, match=f"before they were up: FolderError: not {MAX_DEAD_STARTS - 1}$"):
        [pool.look() for _ in range(MAX_DEAD_STARTS)]


@pytest.mark.parametrize(("answer", "words"), [("MemoryError: no", "MemoryError: no"), (ActorDiedError(), None)])
def test_the_last_words_of_an_engine_are_heard_when_a_call_on_it_fails(fake_ray, answer, words):
    pool = pool_of([20], count=1)
    pool.start()
    (engine,) = pool._engines
    fake_ray.answers |= {"e0.introduce": {"seats": 3}, "e0.until_death": answer}
    pool.lose(engine)
    assert (engine.dead, engine.last_words) == (True, words)
    assert take_all(pool) == [5]
    assert [engine.number for engine in pool._engines] == [1]


def test_the_engine_of_suspects_is_closed_when_none_has_come_for_a_while(fake_ray, monkeypatch):
    monkeypatch.setattr(engines, "KEPT_S", -1.0)
    pool = pool_of([20])
    take_all(pool)
    slots = [EngineSlot(pool, pool._engines[0]) for _ in range(2)]
    alone = {slot.engine_for({"alone": "100"}).number for slot in slots}
    pool.give_back(slots[0])
    pool.look()
    assert (alone, fake_ray.killed) == ({2}, [])
    pool.give_back(slots[1])
    monkeypatch.setattr(engines, "KEPT_S", 1e6)
    pool.look()
    assert not fake_ray.killed
    monkeypatch.setattr(engines, "KEPT_S", -1.0)
    pool.look()
    assert fake_ray.killed == ["e2"]
    assert slots[0].engine_for({"alone": "100"}).number == 3


DENIED = {"seats": 0, "node": "ip-10-0-0-7", "fault": "cannot write s3://b/x: access is denied"}


def test_a_node_that_cannot_use_the_folder_gets_no_trial_keeps_its_place_and_is_named(fake_ray):
    pool = cluster([20], line=2)
    pool.start()
    fake_ray.answers |= {"e0.introduce": DENIED, "e1.introduce": {"seats": 10}}
    assert take_all(pool) == [0, 10, 0]  # and another is asked for in its place
    SAID.assert_called_once_with("no trial is sent to ip-10-0-0-7: cannot write s3://b/x: access is denied")
    assert fake_ray.killed == []


def test_after_a_while_such_a_node_is_tried_again(fake_ray, monkeypatch):
    pool = cluster([20])
    pool.start()
    fake_ray.answers |= {"e0.introduce": DENIED, "e1.introduce": {"seats": 10}}
    monkeypatch.setattr(engines, "BARRED_S", -1.0)
    pool.look()
    assert fake_ray.killed == ["e0"]
    assert [engine.number for engine in pool._engines] == [1, 2]


def test_where_no_node_can_use_the_folder_the_sweep_ends_and_says_why(fake_ray, monkeypatch):
    pool = cluster([20])
    pool.start()
    fake_ray.answers |= {"e0.introduce": DENIED, "e1.introduce": DENIED}
    pool.look()  # others may come
    monkeypatch.setattr(engines, "ALL_BARRED_S", -1.0)
    with pytest.raises(FolderError, match="no node can use the folder: cannot write s3://b/x: access is denied"):
        pool.look()


def test_other_versions_on_a_node_are_remarked(fake_ray):
    pool = cluster([10])
    pool.start()
    here = versions()
    other = {"seats": 10, "node": "n", "versions": {**here, "torch": "1.0"}, "code": code()}
    fake_ray.answers["e0.introduce"] = other
    pool.look()
    SAID.assert_called_once_with(
        f"on n torch is 1.0, here {here['torch']}: its curves may be others. "
        f"Install torch {here['torch']} there, or 1.0 here."
    )


def test_an_engine_looks_whether_it_can_use_the_folder(tmp_path):
    folder = SweepFolder.create_or_open(tmp_path / "sweep", "", {}, {"versions": {}, "command": "test"})
    said = introduced(3, folder.store.uri)
    assert (said.seats, said.fault, said.code) == (3, None, code())
    missing = introduced(3, str(tmp_path / "not-mounted"))
    assert (missing.seats, (tmp_path / "not-mounted").exists()) == (0, False)
    assert "is no sweep's folder" in (missing.fault or "")
