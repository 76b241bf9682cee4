"""A small map as SVG, drawn by the server: works without script, weighs a few kilobytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ceguan.registry.label import name
from ceguan.registry.models import MapFeature, Region

WIDTH = 420


class Drawing:
    """Districts, rivers and lakes in the pixels of a box WIDTH wide; `place` puts a point into the same box."""

    def __init__(self, points: Iterable[tuple[float, float]] = ()):
        regions = list(Region.objects.exclude(geometry=None).filter(children=None))
        features = list(MapFeature.objects.filter(kind__in=("river", "lake")))
        corners = [corner for region in regions for corner in _corners(region.geometry["coordinates"])] or list(points)
        lons, lats = [lon for lon, _ in corners], [lat for _, lat in corners]
        self.west, self.north = min(lons, default=0), max(lats, default=1)
        self.stretch = math.cos(math.radians(self.north))
        span = max(max(lons, default=1) - self.west, 0.02)
        self.scale = (WIDTH - 20) / (span * self.stretch)
        self.height = round(max(self.north - min(lats, default=0), 0.02) * self.scale) + 20
        self.width = WIDTH
        self.districts = [
            {"path": self._path(r.geometry), "name": name(r), **self._middle(r.geometry)} for r in regions
        ]
        self.rivers = [self._path(f.geometry) for f in features if f.kind == "river"]
        self.lakes = [self._path(f.geometry) for f in features if f.kind == "lake"]

    def place(self, lon: float, lat: float) -> dict[str, float]:
        return {
            "x": round(10 + (lon - self.west) * self.stretch * self.scale, 1),
            "y": round(10 + (self.north - lat) * self.scale, 1),
        }

    def _path(self, geometry: dict[str, Any]) -> str:
        closed = "Z" if "Polygon" in geometry["type"] else ""
        return "".join(
            "M" + "L".join(f"{at['x']} {at['y']}" for at in (self.place(*corner[:2]) for corner in line)) + closed
            for line in _lines(geometry["coordinates"])
        )

    def _middle(self, geometry: dict[str, Any]) -> dict[str, float]:
        corners = [self.place(*corner) for corner in _corners(geometry["coordinates"])]
        return {axis: round(sum(c[axis] for c in corners) / len(corners), 1) for axis in ("x", "y")}


def _lines(part: list) -> Iterator[list]:
    if isinstance(part[0][0], int | float):
        yield part
    else:
        for inner in part:
            yield from _lines(inner)


def _corners(part: list) -> Iterator[tuple[float, float]]:
    for line in _lines(part):
        yield from ((corner[0], corner[1]) for corner in line)
