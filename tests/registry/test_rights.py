"""Who may do what to which objects, and that every answer says why."""

from __future__ import annotations

import itertools
import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import translation

from ceguan.registry import rights
from ceguan.registry.models import Point, User
from ceguan.words import Role


def codes(points) -> set[str]:
    return {point.code for point in points}


def test_a_region_covers_everything_below_it(city):
    assert codes(rights.visible_points(city.users["duty"])) == codes(Point.objects.all())


def test_a_district_officer_sees_only_the_district(city):
    officer = city.users["west_officer"]
    assert codes(rights.visible_points(officer)) == {"west_outlet"}
    assert rights.visible_enterprises(officer).get() == city.plant
    assert rights.can(officer, "see", city.points["west_outlet"])
    answer = rights.can(officer, "see", city.points["gas_outlet"])
    assert not answer
    assert answer.reason == "该对象在东区，不在您的辖区之内；您的辖区是西区"


def test_a_code_that_merely_begins_alike_is_not_below(city):
    from ceguan.registry.models import Region

    other = Region.objects.create(code="9901020", name_zh="别区", name_en="Other", parent=city.city)
    assert not rights.can(city.users["west_officer"], "see", other)


def test_enterprise_users_see_their_own_outlets_and_nothing_else(city):
    user = city.users["enterprise"]
    assert codes(rights.visible_points(user)) == {"gas_outlet", "water_outlet"}
    assert rights.visible_enterprises(user).get() == city.mill
    assert not rights.can(user, "see", city.points["air"])
    assert rights.can(user, "see", city.points["west_outlet"]).reason.startswith("企业用户只能查看和办理本单位")


def test_an_enterprise_user_without_an_enterprise_sees_nothing(city):
    city.users["enterprise"].enterprise = None
    assert not rights.visible_points(city.users["enterprise"]).exists()
    assert not rights.can(city.users["enterprise"], "see", city.points["air"])


def test_without_a_region_only_leaders_and_administrators_reach_anything(city):
    for role, user in ((user.role, user) for user in city.users.values() if user.role != "enterprise"):
        user.region = None
        everything = role in ("leader", "admin")
        assert rights.visible_points(user).exists() is everything
        assert bool(rights.can(user, "see", city.points["air"])) is everything


def test_visitors_and_people_who_left_see_nothing(city):
    gone = city.users["duty"]
    gone.is_active = False
    for user in (AnonymousUser(), gone, User(username="x", role="king")):
        assert not rights.visible_points(user).exists()
        assert not rights.visible_cases(user).exists()
        assert not rights.can(user, "see", city.points["air"])


def test_lists_and_single_answers_agree(city):
    for user in city.users.values():
        seen = set(rights.visible_points(user))
        assert seen == {point for point in Point.objects.all() if rights.can(user, "see", point)}


def test_a_refusal_by_role_names_the_roles_that_may(city):
    answer = rights.can(city.users["duty"], "limit", city.points["gas_outlet"])
    assert answer.reason == "“修改许可限值”须由监测分析员、系统管理员办理；您的角色是值班员"
    with pytest.raises(rights.Forbidden, match="须由监测分析员"):
        rights.require(city.users["duty"], "limit", city.points["gas_outlet"])


@pytest.mark.parametrize("right", rights.RIGHTS, ids=lambda right: right.action)
def test_every_right_has_names_and_roles(right):
    assert all(right.name)
    assert right.roles
    assert right.roles <= set(Role)


def test_an_action_nobody_has_written_down_is_a_mistake_not_a_refusal(city):
    with pytest.raises(KeyError):
        rights.can(city.users["admin"], "fly")


def test_officers_of_a_district_come_before_those_of_the_city(city):
    found = [user.username for user in rights.officers(city.west, Role.ENFORCEMENT)]
    assert found[0] == "west_officer"
    assert set(found) == {"west_officer", "enforcement", "reviewer"}
    assert "west_officer" not in [user.username for user in rights.officers(city.east, Role.ENFORCEMENT)]


CHINESE = re.compile(r"[\u3400-\u9fff]")


def test_on_an_english_page_every_answer_of_a_right_is_english(city):
    subjects = [None, *city.points.values()]
    with translation.override("en"):
        for user in (AnonymousUser(), *city.users.values()):
            for right, subject in itertools.product(rights.RIGHTS, subjects):
                assert not CHINESE.search(rights.can(user, right.action, subject).reason)
        answer = rights.can(city.users["duty"], "limit", city.points["gas_outlet"])
    assert answer.reason == (
        "“edit permit limits” is for: Monitoring analyst, Administrator; your role is: Duty officer"
    )
