"""Points looked at together get in the ledger what each would get alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceguan.store import Store
from ceguan.watch import dirty
from ceguan.words import Kind
from tests.city import FACTORS
from tests.watch.world import HOUR, World, at

T0 = at("2026-03-10 00:00")
END = T0 + 40 * HOUR


def messy(world: World, rng: np.random.Generator, begin: int, end: int) -> None:
    """Hours and minutes of the whole city with holes, flags, jumps, constant values and late ones."""
    for ts in range(begin, end, 600):
        for kind, factors in FACTORS.items():
            mn = f"MN{kind.upper()}"
            values: dict[str, Any] = {factor: round(float(rng.lognormal(2, 0.5)), 2) for factor, *_ in factors}
            if rng.random() < 0.1:
                values = dict.fromkeys(values, 7)
            if rng.random() < 0.1:
                values = {factor: {"Avg": value * 30, "Flag": "D"} for factor, value in values.items()}
            if rng.random() < 0.9 and kind.endswith("outlet"):
                world.send(mn, "minute", ts, values)
            if ts % HOUR == 0 and rng.random() < 0.9:
                world.send(mn, "hour", ts, values)
            if ts % HOUR == 0 and rng.random() < 0.05:
                world.send(mn, "hour", ts - 15 * HOUR, values, recv=ts + HOUR + 60)


def story(world: World) -> dict[str, list[Any]]:
    """What the ledger holds after two looks at the city's readings."""
    rng = np.random.default_rng(7)
    for begin, end in ((T0, T0 + 30 * HOUR), (T0 + 30 * HOUR, END)):
        messy(world, rng, begin, end)
        world.step(end + 2 * HOUR)
    series = sorted(world.clockwork.register.series)
    return ledger(world.store, series, sorted(world.clockwork.register.points))


def ledger(store: Store, series: list[int], points: list[int]) -> dict[str, list[Any]]:
    kinds, far = (Kind.HOUR, Kind.MINUTE), END + 99 * HOUR
    return {
        "flags": [store.flags(series, kind, 0, far, versions="all").to_pylist() for kind in kinds],
        "runs": [store.quality_runs(series, kind, 0, far).to_pylist() for kind in kinds],
        "gaps": [store.gaps(series, kind, 0, far).to_pylist() for kind in kinds],
        "verdicts": [
            {name: "none" if value != value else value for name, value in row.items() if name != "id"}
            for row in store.verdicts(points, all_versions=True).to_pylist()
        ],
    }


def test_points_looked_at_together_get_what_each_gets_alone(
    city: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for most in (dirty.MOST_READINGS, 1):
        monkeypatch.setattr(dirty, "MOST_READINGS", most)
        world = World(tmp_path / str(most))
        found.append(story(world))
        world.close()
    assert all(found[0].values())
    assert len(found[0]["verdicts"]) > 50
    assert found[0] == found[1]
