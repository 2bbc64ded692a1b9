from __future__ import annotations

import asyncio

import fleet

from grokray.sweep.engine_actor import EngineActor
from grokray.sweep.introduction import Introduction


def test_the_fleet_answers_whatever_an_engine_is_asked():
    asked = {name for name in vars(EngineActor) if not name.startswith("_")}
    assert "introduce" in asked
    assert asked <= {*vars(fleet.Fleet)}


def test_an_engine_of_the_fleet_has_the_seats_that_it_was_asked_for():
    said = asyncio.run(fleet.Fleet.introduce(object.__new__(fleet.Fleet), 0, 7))
    assert Introduction(**said).seats == 7
