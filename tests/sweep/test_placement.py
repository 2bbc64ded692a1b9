from __future__ import annotations

import pytest

from grokray.errors import ExecutionError
from grokray.sweep.cluster import Machine
from grokray.sweep.load import load_sweep
from grokray.sweep.placement import (
    MAX_ENGINES,
    device_of_sweep,
    engine_spec,
    idle_gpus,
    missing_gpus,
    share_of_an_engine,
)
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
    assert device_of_sweep(c, machine) == "cuda"
    spec = engine_spec(c, machine, "cuda", trials=1000)
    assert (spec.count, spec.slots, spec.gpu) == (2, 50, True)
    only_device = config(tmp_path, "device: cuda\n")
    assert engine_spec(only_device, machine, device_of_sweep(only_device, machine), trials=1000).slots == 50


def test_gpus_that_nothing_asks_for_are_remarked(tmp_path):
    machine = Machine(cpus=16, gpus=2)
    idle = idle_gpus(config(tmp_path), machine)
    assert idle is not None
    assert idle.startswith("2 GPUs are not used: resources.gpu is 0. With --set resources.gpu=0.02 each would train 50")
    for text in ("resources: {gpu: 0.02}\n", "device: cpu\n", "device: cuda\n"):
        assert idle_gpus(config(tmp_path, text), machine) is None
    assert idle_gpus(config(tmp_path), Machine(cpus=16, gpus=0)) is None


def test_a_gpu_that_is_asked_for_and_is_not_there_is_remarked(tmp_path):
    none, share = Machine(cpus=16, gpus=0), "resources: {gpu: 0.02}\n"
    remark = "resources.gpu is 0.02, but Ray sees no GPU here: trials train on the CPU"
    assert missing_gpus(config(tmp_path, share), none) == remark
    for text in ("", "resources: {cpu: 0.05}\n", share + "device: cpu\n"):
        assert missing_gpus(config(tmp_path, text), none) is None
    assert missing_gpus(config(tmp_path, share), Machine(cpus=16, gpus=1)) is None


def test_without_a_gpu_a_share_of_one_means_the_cpu_and_asking_for_one_is_an_error(tmp_path):
    machine = Machine(cpus=2, gpus=0)
    assert device_of_sweep(config(tmp_path, "resources: {gpu: 0.02}\n"), machine) == "cpu"
    with pytest.raises(ExecutionError, match="device is cuda, but Ray sees no GPU"):
        device_of_sweep(config(tmp_path, "device: cuda\n"), machine)


def test_of_a_cluster_engines_come_and_go_and_each_is_full_or_the_cores_that_are_there_share(tmp_path):
    c = config(tmp_path, "resources: {cpu: 0.05}\n")
    spec = engine_spec(c, Machine(cpus=4, gpus=0, elastic=True), "cpu", trials=1000)
    assert (spec.slots, spec.elastic, spec.count) == (20, True, MAX_ENGINES)
    assert engine_spec(c, Machine(cpus=8, gpus=0, elastic=True), "cpu", trials=24).slots == 3
    assert not engine_spec(c, Machine(cpus=8, gpus=0), "cpu", trials=24).elastic


def test_gpus_that_an_autoscaler_may_add_count(tmp_path):
    c = config(tmp_path, "resources: {cpu: 0.05, gpu: 0.02}\n")
    assert device_of_sweep(c, Machine(cpus=1, gpus=0, elastic=True, gpus_to_come=4)) == "cuda"
    assert device_of_sweep(c, Machine(cpus=1, gpus=0, elastic=True)) == "cpu"
    with pytest.raises(ExecutionError, match="nor may its autoscaler add one"):
        device_of_sweep(config(tmp_path, "device: cuda\n"), Machine(cpus=1, gpus=0, elastic=True))


@pytest.mark.parametrize("cpus", [1, 7])
def test_whether_kernels_are_compiled_does_not_go_by_the_nodes_that_happen_to_be_there(tmp_path, cpus):
    c = config(tmp_path, "resources: {cpu: 0.25}\n")  # 32 trials, four on each engine
    assert share_of_an_engine(c, Machine(cpus=cpus, gpus=0, elastic=True)) == 1 / 8
