from __future__ import annotations

import pytest

from grokray.errors import ExecutionError
from grokray.sweep.cluster import Machine
from grokray.sweep.load import load_sweep
from grokray.sweep.placement import choose_device, engine_spec
from tests.sweep.sweeps import GRID, write


def config(tmp_path, text=""):
    return load_sweep(write(tmp_path, GRID + text))


def test_one_engine_per_core_and_as_many_slots_as_fractions_go_in(tmp_path):
    spec = engine_spec(config(tmp_path, "resources: {cpu: 0.05}\n"), Machine(cpus=4, gpus=0), "cpu", trials=1000)
    assert (spec.count, spec.slots, spec.num_cpus, spec.gpu) == (4, 20, 1.0, False)


def test_the_line_is_as_long_as_the_seats_short_where_the_search_learns_and_absent_before_a_single_seat(tmp_path):
    def line(text, trials=1000):
        return engine_spec(config(tmp_path, text), Machine(cpus=2, gpus=0), "cpu", trials=trials).line

    assert line("resources: {cpu: 0.05}\n") == 20
    assert line("resources: {cpu: 0.05}\n", trials=6) == 3
    assert line("resources: {cpu: 1}\n") == 0
    learning = GRID.replace("method: grid", "method: tpe\nnum_trials: 60\nmetric: {name: heldout_loss}")
    spec = engine_spec(load_sweep(write(tmp_path, learning)), Machine(cpus=2, gpus=0), "cpu", trials=120)
    assert (spec.slots, spec.line) == (20, 2)


def test_few_trials_are_spread_over_the_engines(tmp_path):
    spec = engine_spec(config(tmp_path), Machine(cpus=4, gpus=0), "cpu", trials=6)
    assert (spec.count, spec.slots) == (4, 2)
    assert engine_spec(config(tmp_path), Machine(cpus=4, gpus=0), "cpu", trials=1).count == 1


def test_a_fiftieth_of_a_gpu_seats_fifty_on_each(tmp_path):
    c = config(tmp_path, "resources: {cpu: 0.05, gpu: 0.02}\n")
    machine = Machine(cpus=16, gpus=2)
    assert choose_device(c, machine) == "cuda"
    spec = engine_spec(c, machine, "cuda", trials=1000)
    assert (spec.count, spec.slots, spec.gpu) == (2, 50, True)
    only_device = config(tmp_path, "device: cuda\n")
    assert engine_spec(only_device, machine, choose_device(only_device, machine), trials=1000).slots == 50


def test_without_a_gpu_a_share_of_one_means_the_cpu_and_asking_for_one_is_an_error(tmp_path):
    machine = Machine(cpus=2, gpus=0)
    assert choose_device(config(tmp_path, "resources: {gpu: 0.02}\n"), machine) == "cpu"
    with pytest.raises(ExecutionError, match="device is cuda, but Ray sees no GPU"):
        choose_device(config(tmp_path, "device: cuda\n"), machine)
