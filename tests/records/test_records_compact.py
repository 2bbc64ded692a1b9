from __future__ import annotations

import tracemalloc

import pytest

from grokray.records.compact import NOTHING, Compactor


@pytest.mark.parametrize(
    "mappings",
    [
        [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 3}],
        [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}],
        [{}, {}],
    ],
)
def test_a_compact_mapping_is_equal_to_the_dictionary_it_was_made_of(mappings):
    compact = Compactor()
    made = [compact(mapping) for mapping in mappings]
    for found, mapping in zip(made, mappings, strict=True):
        assert found == mapping
        assert list(found) == list(mapping)
        assert [type(value) for value in found.values()] == [type(value) for value in mapping.values()]
        assert found.get("none") is None
        assert repr(found) == repr(mapping)
    with pytest.raises(KeyError):
        made[0]["none"]
    assert not NOTHING


def test_a_nan_stays_one():
    compact = Compactor()
    first, second = compact({"loss": float("nan")}), compact({"loss": float("nan")})
    assert first["loss"] != first["loss"]
    assert second["loss"] != second["loss"]


def test_equal_keys_and_values_are_kept_once():
    compact = Compactor()

    def fresh(i: int) -> dict[str, object]:
        return {f"parameter {k}": f"value {k}" if k % 2 else float(k) for k in range(50)} | {"seed": i}

    tracemalloc.start()
    kept = [compact(fresh(i)) for i in range(1000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept[17] == fresh(17)
    assert size / 1000 < 700  # a dictionary alone takes 2.3 kB
