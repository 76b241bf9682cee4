"""What adoption promises: nothing counts before a person has confirmed its unit, and everything done is on record."""

from __future__ import annotations

import pytest

from ceguan.intake import adoption
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device, Series
from ceguan.registry.rights import Forbidden
from ceguan.store import Store
from ceguan.words import Kind
from tests.watch.world import World, at

NOW = at("2026-11-24 10:30")
MN = "NEWDEVICE01"


@pytest.fixture
def world(city, data):
    world = World(data)
    world.city = city
    yield world
    world.close()


@pytest.fixture
def stranger(world):
    """An unknown device has sent two hours, sulphur dioxide under its old code."""
    for hour in ("08:00", "09:00"):
        world.send(MN, "hour", at(f"2026-11-24 {hour}"), {"02": 31, "a21002": 52})
    world.step(NOW)
    return world


def adopt(world, user="analyst", point="gas_outlet", units=None, reason="新装数采仪", take_held=True, mn=MN):
    chosen = {"a21026": "mg/m³", "a21002": "mg/m³"} if units is None else units
    return adoption.adopt(
        mn, world.city.points[point], chosen, world.city.users[user], reason, take_held, NOW, every_seconds=3600
    )


def values(world, factor, point="gas_outlet"):
    series = Series.objects.get(point=world.city.points[point], factor=factor)
    return Store(world.folder).readings([series.pk], Kind.HOUR, 0, NOW)["value"].to_pylist()


def test_an_unknown_device_waits_with_what_it_has_sent(stranger):
    [device] = adoption.waiting(Store(stranger.folder), NOW)
    assert (device.mn, device.frames, device.st, device.cns) == (MN, 2, "31", ("2061",))
    assert device.factors == {"02": "31", "a21002": "52"}
    assert device.every_seconds == 3600
    assert adoption.edition(Store(stranger.folder), MN) == "2017"


def test_what_was_held_counts_once_the_device_is_adopted(stranger):
    assert values(stranger, "a21026") == []
    adopt(stranger)
    assert adoption.waiting(Store(stranger.folder), NOW) == [], "it leaves the list at once"
    stranger.step(NOW + 1)
    assert values(stranger, "a21026") == [31, 31]


def test_what_was_held_stays_aside_when_the_person_says_so(stranger):
    adopt(stranger, take_held=False)
    stranger.step(NOW + 1)
    assert values(stranger, "a21026") == []


def test_a_confirmed_unit_other_than_that_of_the_series_is_converted(stranger):
    adopt(stranger, units={"a21026": "μg/m³", "a21002": ""})
    stranger.step(NOW + 1)
    assert values(stranger, "a21026") == [0.031, 0.031]
    assert values(stranger, "a21002") == [], "its unit was not confirmed"


def test_a_factor_the_point_does_not_have_gets_a_series_named_by_the_standard(stranger):
    adopt(stranger, units={"a05024": "μg/m³"})
    series = Series.objects.get(point__code="gas_outlet", factor="a05024")
    assert (series.name_zh, series.unit) == ("臭氧(O3)", "μg/m³")


def test_the_unit_of_the_series_is_suggested_before_that_of_the_standard(city):
    point = city.points["air"]
    [dust] = adoption.suggestions({"a34004": "35"}, point)
    assert (dust.unit, dust.series_unit, dust.standard) == ("μg/m³", "μg/m³", "ng/m³")
    assert {"μg/m³", "mg/m³", "ng/m³"} <= set(dust.choices)


@pytest.mark.parametrize(
    ("code", "printed", "choices"),
    [
        ("a34004", "ng/m³", {"ng/m³", "μg/m³", "mg/m³"}),  # 表B.2 prints ng/m³, which no dust station sends
        ("e70103", "A／mg/L", {"A", "mg/L"}),  # 表B.5 uses the code twice: lift pump and dosing
        ("g11901", "%／mg/m³", {"%", "mg/m³", "μg/m³"}),  # 表B.7 likewise: desulphurisation rate and inlet SO2
    ],
)
def test_where_the_print_is_doubtful_a_person_must_choose_the_unit(city, code, printed, choices):
    [one] = adoption.suggestions({code: "35"}, None)
    assert (one.unit, one.standard) == ("", printed)
    assert choices <= set(one.choices)


def test_an_old_and_a_new_code_are_asked_about_once(city):
    [one] = adoption.suggestions({"02": "31", "a21026": "31"}, None)
    assert (one.code, one.sent) == ("a21026", "02")


def test_points_of_the_kind_the_device_speaks_of_come_first(city):
    kinds = [point.kind for point in adoption.candidates(city.users["analyst"], "32")]
    assert kinds[0] == "water_outlet"
    assert len(kinds) == 7


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"units": {"a21026": "mg/L"}}, "不能换算"),
        ({"units": {"a21026": "斤"}}, "单位表"),
        ({"reason": " "}, "理由"),
        ({"mn": ""}, "MN"),
        ({"mn": "MNAIR"}, "已接入"),
    ],
)
def test_what_cannot_be_adopted_says_why_and_leaves_nothing_behind(stranger, how, said):
    before = Device.objects.count(), Series.objects.count(), AuditEvent.objects.count()
    with pytest.raises(adoption.AdoptionError, match=said):
        adopt(stranger, **how)
    assert (Device.objects.count(), Series.objects.count(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("user", ["duty", "enforcement", "leader", "enterprise"])
def test_only_analysts_and_administrators_adopt(stranger, user):
    with pytest.raises(Forbidden):
        adopt(stranger, user=user)


def test_nobody_adopts_beyond_their_region(stranger):
    analyst = stranger.city.users["analyst"]
    analyst.region = stranger.city.west
    with pytest.raises(Forbidden, match="辖区"):
        adopt(stranger)


def test_every_step_is_on_record(stranger):
    device = adopt(stranger, units={"a21026": "mg/m³"})
    analyst = stranger.city.users["analyst"]
    adoption.confirm(device, {"a21002": "mg/m³", "a34013": ""}, analyst, "核对说明书", NOW)
    adoption.retire(device, analyst, "设备更换", NOW)
    steps = AuditEvent.objects.filter(subject=f"device:{MN}").values_list("action", "reason")
    assert list(steps) == [("adopt", "新装数采仪"), ("confirm_units", "核对说明书"), ("retire", "设备更换")]
    assert audit.verify() is None
    assert device.units == {"a21026": "mg/m³", "a21002": "mg/m³"}


def test_a_retired_device_waits_again_and_can_be_adopted_elsewhere(stranger):
    adoption.retire(adopt(stranger), stranger.city.users["admin"], "移装", NOW)
    stranger.step(NOW + 1)
    stranger.send(MN, "hour", at("2026-11-24 10:00"), {"a21026": 9}, recv=NOW + 60)
    stranger.step(NOW + 61)
    assert [device.mn for device in adoption.waiting(Store(stranger.folder), NOW + 61)] == [MN]
    assert adopt(stranger, point="west_outlet").point.code == "west_outlet"
