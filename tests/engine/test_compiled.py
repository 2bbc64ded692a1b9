from __future__ import annotations

import json
import math

import pytest
import torch

from grokray.engine.backends import Libraries
from grokray.engine.checkpoint import from_bytes, to_bytes
from grokray.engine.engine import Engine, Measurement
from grokray.engine.graphs import Build, build_of, graph_folder, load_kernels
from grokray.engine.shape import ShapeKey, shape_of
from grokray.engine.tiles import tile_width
from grokray.tasks.dataset import build_dataset
from tests.engine.conftest import alone, curve, run, small
from tests.engine.test_options import OPTIONS

CPU = torch.device("cpu")
# Of a slow machine that does much else: the kernels here take it 80 s of a core when it does not.
pytestmark = pytest.mark.timeout(1800)
PLAIN = {"dropout": 0.1, "num_layers": 1}
TILE = 10  # so many trials are computed at once, in a tile of 16


@pytest.fixture(scope="module", autouse=True)
def _libraries_of_these_tests(tmp_path_factory):
    """A cache of their own, so that the libraries are really built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKRAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def many(number: int, dropout: float) -> list:
    """Trials of one shape that differ in all that a slot has for itself."""
    fractions, decays = (0.3, 0.5, 0.7), (0.0, 1.0)
    return [
        small(
            **(PLAIN | {"dropout": dropout}),
            seed=i,
            weight_decay=decays[i % 2],
            training_fraction=fractions[i % 3],
            learning_rate=1e-3 * (1 + i),
            measure="weight_norm,update_norm",
        )
        for i in range(number)
    ]


def compiled(configs) -> list[list[Measurement]]:
    """The curves of trials that train together."""
    engine = Engine(compile="on")
    for i, config in enumerate(configs):
        engine.join(str(i), config)
    curves = run(engine)
    return [curves[str(i)] for i in range(len(configs))]


def assert_near(found: list[Measurement], reference: list[Measurement]) -> None:
    assert [m.step for m in found] == [m.step for m in reference] == [10, 20, 30]
    for m, eager in zip(found, reference, strict=True):
        assert m.metrics.keys() == eager.metrics.keys()
        for name, value in eager.metrics.items():
            assert math.isclose(m.metrics[name], value, rel_tol=1e-4, abs_tol=1e-4), (m.step, name)


@pytest.mark.parametrize("dropout", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_a_compiled_trial_is_bit_identical_in_any_company_and_near_the_eager_one(dropout):
    """One tile has 16 slots here: 19 trials take a full one and three single slots, 11 a tile with some to spare."""
    trials, options = many(19, dropout), frozenset({"dropout"} if dropout else {})
    config = trials[0]
    shape = shape_of(build_dataset(config))
    assert tile_width(shape) == 16
    single = compiled([config])[0]
    assert_near(single, alone(config))
    # The other width is being built beside the training; from here on both are there.
    build = build_of(shape, 16, options)
    assert build.wait() == 0, build.log.read_text()
    assert_evaluations_were_compiled_once(shape, options)

    nineteen = compiled(trials)
    assert curve(nineteen[0]) == curve(single)
    eleven = compiled(trials[:11])
    assert [curve(c) for c in eleven] == [curve(c) for c in nineteen[:11]]
    five = compiled(trials[13:18])  # in other slots, one by one
    assert [curve(c) for c in five] == [curve(c) for c in nineteen[13:18]]
    torch.set_num_threads(2)
    assert [curve(c) for c in compiled(trials)] == [curve(c) for c in nineteen]
    assert_parking_and_moving_change_nothing(trials, nineteen)


def assert_evaluations_were_compiled_once(shape: ShapeKey, options: frozenset[str]) -> None:
    """The second width took the library of the first: one compiled anew would be younger."""
    one, tile = (graph_folder(shape, width, options) / "row_sums.so" for width in (1, 16))
    assert one.stat().st_mtime_ns == tile.stat().st_mtime_ns


def assert_parking_and_moving_change_nothing(trials: list, reference: list[list[Measurement]]) -> None:
    engine = Engine(compile="on")
    for i, config in enumerate(trials[:12]):
        engine.join(str(i), config)
    head = engine.next()
    engine.park("3")
    head += engine.next()
    data, digest = to_bytes(engine.save("3"))
    engine.unpark("3")
    tail = run(engine)
    for trial in ("3", "7"):
        assert curve([m for m in head if m.trial == trial] + tail[trial]) == curve(reference[int(trial)])
    moved = Engine(compile="on")
    moved.join("other", trials[0])
    moved.restore("3", trials[3], from_bytes(data, digest))
    assert curve([m for m in head if m.trial == "3"] + run(moved)["3"]) == curve(reference[3])


def test_libraries_that_cannot_be_built_leave_the_trial_to_eager_kernels(monkeypatch, capfd):
    monkeypatch.setenv("CXX", "/does/not/exist")
    config = small(num_layers=1, dim_model=8)
    assert curve(compiled([config])[0]) == curve(alone(config))
    error = capfd.readouterr().err
    assert "could not be compiled" in error
    assert str(graph_folder(shape_of(build_dataset(config)), 1, frozenset()).with_suffix(".log")) in error


def test_a_cache_that_cannot_be_written_leaves_the_trial_to_eager_kernels(monkeypatch, tmp_path, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GROKRAY_CACHE", str(tmp_path / "file"))
    config = small(num_layers=1, dim_model=4)
    assert curve(compiled([config])[0]) == curve(alone(config))
    assert "could not be compiled, [Errno" in capfd.readouterr().err


def test_a_library_is_not_given_tensors_that_it_was_not_built_for(tmp_path):
    shape = shape_of(build_dataset(small()))
    (tmp_path / "update.signature").write_text(json.dumps([["torch.float32", [1, 4]]]))
    kernels = load_kernels(tmp_path, shape, frozenset())
    with pytest.raises(TypeError, match=r"update.so was built for \[\['torch.float32', \[1, 4\]\]\]"):
        kernels._update(torch.zeros(2, 4))


def test_nobody_trains_while_the_first_library_is_built(monkeypatch):
    monkeypatch.setattr(Build, "__init__", lambda self, *spec: None)
    monkeypatch.setattr(Build, "running", True)
    build_of.cache_clear()
    engine = Engine(compile="on")
    engine.join("a", small())
    waits = iter([False, False, True])
    assert engine.next(lambda: next(waits)) == []
    saved = engine.save("a")
    assert saved.step == 0
    assert saved.wall_time_s < 0.04  # of at least 0.1 s: waiting is not training
    (stack,) = engine._stacks.values()
    assert isinstance(stack.backend, Libraries)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["all", "sgd, mse", "frozen blocks, muon"])
def test_all_options_at_once(options):
    configs = [small(**(OPTIONS[options] | PLAIN), seed=seed, measure="weight_norm") for seed in range(TILE)]
    for config, found in list(zip(configs, compiled(configs), strict=True))[:2]:
        assert_near(found, alone(config))


@pytest.mark.slow
@pytest.mark.parametrize("options", ["orthograd", "embeddings apart"])
def test_whole_rows_and_parts_of_them_are_the_same_in_any_company(options):
    configs = [small(**OPTIONS[options], num_layers=1, seed=seed) for seed in range(11)]
    single = compiled(configs[:1])[0]
    assert_near(single, alone(configs[0]))
    build = build_of(shape_of(build_dataset(configs[0])), 16, frozenset())
    assert build.wait() == 0, build.log.read_text()
    together = compiled(configs)  # one tile of 16
    assert curve(together[0]) == curve(single)
    torch.set_num_threads(2)
    assert [curve(c) for c in compiled(configs)] == [curve(c) for c in together]


@pytest.mark.slow
def test_muon_is_the_same_in_any_company_however_narrow_the_model():
    """A norm of a matrix of 8 columns was added up otherwise for one slot than for 16."""
    configs = [small(optimizer="muon", num_layers=1, dim_model=8, seed=seed) for seed in range(TILE)]
    assert curve(compiled(configs[:1])[0]) == curve(compiled(configs)[0])


@pytest.mark.slow
def test_batches_that_share_prefixes():
    configs = [small(**OPTIONS["shared prefixes"], seed=seed) for seed in range(TILE)]
    assert shape_of(build_dataset(configs[0])).batch_sharing.length > 0
    together = compiled(configs)
    for config, found in list(zip(configs, together, strict=True))[:3]:
        assert_near(found, alone(config))
    assert curve(compiled(configs[:1])[0]) == curve(together[0])


@pytest.mark.slow
def test_a_trial_without_dropout_is_the_same_beside_those_with_it():
    """They use other libraries, which multiply by one."""
    plain = small(num_layers=1)
    neighbours = [small(num_layers=1, dropout=0.3, seed=seed) for seed in range(1, TILE)]
    alone_, beside = compiled([plain])[0], compiled([plain, *neighbours])[0]
    assert curve(alone_) == curve(beside)


def test_where_one_width_is_there_a_failure_of_the_other_changes_nothing(monkeypatch):
    """Eager kernels would round differently in the middle of a trial."""
    backend = Libraries(shape_of(build_dataset(small(dim_model=12))))
    backend._folder(1).mkdir(parents=True)
    monkeypatch.setattr(Build, "__init__", lambda self, *spec: self.__dict__.update(folder=backend._folder(16), log=""))
    monkeypatch.setattr(Build, "running", False)
    build_of.cache_clear()
    one_by_one = [(i, 1) for i in range(TILE)]
    assert backend.tiles(TILE, frozenset()) == one_by_one
    assert backend.tiles(TILE, frozenset()) == one_by_one
    build_of.cache_clear()


def test_a_tiles_library_is_built_once_there_are_trials_to_fill_it(monkeypatch):
    """A few trials are computed one by one, so they would wait for nothing."""
    asked: list[int] = []

    def build(shape: ShapeKey, width: int, options: frozenset[str]) -> Build:
        asked.append(width)
        backend._folder(width).mkdir(parents=True)
        return Build.__new__(Build)

    backend = Libraries(shape_of(build_dataset(small(dim_model=20))))
    monkeypatch.setattr("grokray.engine.backends.build_of", build)
    monkeypatch.setattr(Build, "failed", False)
    few, one_by_one = TILE - 1, [(i, 1) for i in range(TILE - 1)]
    assert backend.building
    assert backend.tiles(few, frozenset()) is None
    assert (backend.tiles(few, frozenset()), backend.building) == (one_by_one, False)
    assert backend.tiles(TILE, frozenset()) == [*one_by_one, (few, 1)]
    assert backend.tiles(TILE, frozenset()) == [(0, 16)]
    assert backend.tiles(few, frozenset()) == one_by_one
    assert asked == [1, 16]
