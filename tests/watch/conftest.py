from __future__ import annotations

import pytest

from tests.watch.world import World


@pytest.fixture
def world(city, data):
    """The small city with an archive and a clockwork of its own."""
    world = World(data)
    world.city = city
    yield world
    world.close()
