"""The invented city holds together: its map tiles, its points lie where they belong, its permits cite the law."""

import time

import pytest
from shapely.geometry import LineString, Point, shape
from shapely.ops import unary_union

from ceguan.registry.models import Device, Enterprise, MapFeature, PermitLimit, Region, Series, User
from ceguan.registry.models import Point as Place
from ceguan.simulate import city
from ceguan.words import Role


@pytest.fixture
def yunlan(db):
    city.build(time.time())


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
            assert reaches[one.properties["reach"]].distance(Point(one.lon, one.lat)) < 0.02
        seen = set()
        while one is not None:
            assert one.code not in seen, "the river runs in a circle"
            seen.add(one.code)
            one = stations.get(one.properties["downstream"])


def test_the_city_has_what_a_bureau_supervises(yunlan):
    kinds = [one.kind for one in Place.objects.all()]
    counts = [kinds.count(kind) for kind in ("air", "water", "noise", "radiation")]
    outlets = kinds.count("gas_outlet") + kinds.count("water_outlet")
    assert counts[0] >= 12
    assert counts[1:] == [10, 8, 5]
    assert (Enterprise.objects.count(), outlets) == (30, 45)
    assert Device.objects.count() == len(kinds)


def test_every_permit_limit_cites_standard_clause_and_trust_and_has_its_series(yunlan):
    series = set(Series.objects.values_list("point_id", "factor"))
    for limit in PermitLimit.objects.all():
        assert limit.standard
        assert limit.clause
        assert limit.trust
        assert (limit.point_id, limit.factor) in series


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
