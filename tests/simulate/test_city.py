"""The invented city holds together: its map tiles, its points lie where they belong, its permits cite the law."""

import re
import shutil
import time
from pathlib import Path

import pytest
from django.db import connection
from shapely.geometry import LineString, Point, shape
from shapely.ops import unary_union

from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device, Enterprise, MapFeature, PermitLimit, Region, Series, User
from ceguan.registry.models import Point as Place
from ceguan.simulate import city, stations
from ceguan.standards import units
from ceguan.words import Role


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Where the business database with the city is kept for the tests of this file, once one of them has built it."""
    return tmp_path_factory.mktemp("yunlan") / "business.db"


@pytest.fixture
def yunlan(db, built):
    """The city in a fresh database; built once, then copied, because eight passwords take seconds to hash."""
    if built.exists():
        connection.close()
        shutil.copy(built, db / "business.db")
        return
    city.build(time.time())
    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(db / "business.db", built)


def districts():
    return {region.code: shape(region.geometry) for region in Region.objects.exclude(geometry=None)}


def test_the_five_districts_tile_the_city_without_gap_or_overlap(yunlan):
    parts = districts()
    whole = unary_union(list(parts.values()))
    assert len(parts) == 5
    assert all(part.is_valid for part in parts.values())
    assert whole.geom_type == "Polygon"
    assert not whole.interiors
    assert sum(part.area for part in parts.values()) == pytest.approx(whole.area)


def test_every_point_lies_in_its_district(yunlan):
    parts = districts()
    assert not [one.code for one in Place.objects.all() if not parts[one.region_id].contains(Point(one.lon, one.lat))]


def test_every_river_station_stands_at_its_river_and_flows_to_one_downstream(yunlan):
    reaches = {
        one.properties["id"]: LineString(one.geometry["coordinates"]) for one in MapFeature.objects.filter(kind="river")
    }
    stations = {one.code: one for one in Place.objects.filter(kind="water")}
    for one in stations.values():
        if one.properties["reach"] in reaches:
            assert reaches[one.properties["reach"]].distance(Point(one.lon, one.lat)) < 1e-6
        seen = set()
        while one is not None:
            assert one.code not in seen, "the river runs in a circle"
            seen.add(one.code)
            one = stations.get(one.properties["downstream"])


def test_kilometres_on_a_river_grow_downstream(yunlan):
    stations = {one.code: one.properties for one in Place.objects.filter(kind="water")}
    for one in stations.values():
        below = stations.get(one["downstream"])
        if below and below["river"] == one["river"]:
            assert one["chainage_km"] < below["chainage_km"]


def test_reaches_meet_at_their_nodes_and_the_graph_runs_to_one_outlet(yunlan):
    reaches = list(MapFeature.objects.filter(kind="river"))
    begins = {one.properties["from"]: one for one in reaches}
    for one in reaches:
        seen = []
        while one is not None:
            assert one.properties["id"] not in seen, "the river runs in a circle"
            seen.append(one.properties["id"])
            below = begins.get(one.properties["to"])
            if below is not None:
                assert one.geometry["coordinates"][-1] == below.geometry["coordinates"][0]
            last, one = one, below
        assert last.properties["to"] == "lan-out"


def test_the_lake_station_stands_in_the_lake(yunlan):
    lakes = [shape(one.geometry) for one in MapFeature.objects.filter(kind="lake")]
    for one in Place.objects.filter(kind="water"):
        if one.properties["waterbody"] == "lake":
            assert any(lake.contains(Point(one.lon, one.lat)) for lake in lakes)


def test_a_line_has_the_same_bends_each_time_and_keeps_its_points():
    line = [(104.1, 35.1), (104.2, 35.15), (104.3, 35.1)]
    bent = city.wander(line, 0.1)
    assert bent == city.wander(line, 0.1)
    assert [point for point in bent if point in line] == line


def test_the_city_has_what_a_bureau_supervises(yunlan):
    kinds = [one.kind for one in Place.objects.all()]
    counts = [kinds.count(kind) for kind in ("air", "water", "noise", "radiation")]
    assert counts[0] >= 12
    assert counts[1:] == [10, 8, 5]
    assert (kinds.count("gas_outlet"), kinds.count("water_outlet")) == (25, 20)
    assert Enterprise.objects.count() == 30
    assert Device.objects.count() == len(kinds)


def test_every_permit_limit_cites_standard_clause_and_trust_and_has_its_series(yunlan):
    series = set(Series.objects.values_list("point_id", "factor"))
    for limit in PermitLimit.objects.all():
        assert limit.standard
        assert limit.clause
        assert limit.trust
        assert (limit.point_id, limit.factor) in series


def test_every_outlet_has_limits_and_a_flue_gas_one_its_reference_oxygen(yunlan):
    for outlet in Place.objects.filter(kind__in=("gas_outlet", "water_outlet")):
        assert outlet.limits.exists(), outlet.code
        assert outlet.kind == "water_outlet" or outlet.properties["o2_ref"], outlet.code


def test_units_of_the_series_can_be_compared_with_their_limits_and_are_confirmed_for_the_device(yunlan):
    for limit in PermitLimit.objects.select_related("point"):
        unit = limit.point.series.get(factor=limit.factor).unit
        assert units.factor(unit, limit.unit) is not None, (limit.point.code, limit.factor)
        assert limit.point.devices.get().units[limit.factor] == unit


def test_device_numbers_have_the_shape_of_their_edition(yunlan):
    shapes = {"2005": r"[0-9]{14}", "2017": r"[0-9A-F]{24}", "2025": r"[0-9A-F]{24}"}
    devices = list(Device.objects.all())
    assert all(re.fullmatch(shapes[one.edition], one.mn) for one in devices)
    assert len({one.mn for one in devices}) == len(devices)
    assert {one.edition for one in devices} == {"2005", "2017", "2025"}


def test_the_device_of_2025_enciphers_with_the_published_key(yunlan):
    keyed = [one for one in stations.load() if one.key]
    assert [(one.edition, one.key) for one in keyed] == [("2025", city.KEY.encode())]


def test_building_the_city_is_on_record(yunlan):
    assert AuditEvent.objects.filter(action="city.build").count() == 1
    assert audit.verify() is None


def test_there_is_a_demo_account_for_every_role_and_it_is_marked(yunlan):
    users = {user.username: user for user in User.objects.all()}
    assert {user.role for user in users.values()} == set(Role)
    for account in city.demo_users():
        assert users[account.username].check_password(account.password)
        assert users[account.username].demo_password


def test_building_again_changes_nothing(yunlan):
    before = Place.objects.count(), Series.objects.count(), User.objects.count()
    city.build(time.time())
    assert (Place.objects.count(), Series.objects.count(), User.objects.count()) == before


def test_the_page_about_the_city_names_every_demo_account_and_every_standard_of_a_permit():
    page = (Path(__file__).parents[2] / "docs/demo-city.md").read_text(encoding="utf-8")
    for account in city.demo_users():
        assert f"| {account.username} | {account.password} | {account.role_zh} |" in page
    for row in city.rows("outlets.csv"):
        assert f"| {row['edition']} " in page
