"""A finding is opened once, folds, says what happened to it; people claim, hand over, dismiss, mute – with reasons."""

from __future__ import annotations

import itertools
import re
import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.registry import audit
from ceguan.registry.models import AuditEvent
from ceguan.registry.rights import Forbidden
from ceguan.watch import findings
from ceguan.watch.findings import FindingError, when
from ceguan.watch.models import Finding, FindingEvent, Notice, NoticeTarget

NOW = 1_773_100_800.0
HOUR = 3600


def exceed(city, verdict: int, hour: int = 0, level: int = 2, **detail) -> Finding:
    point, at = city.points["gas_outlet"], NOW + hour * HOUR
    return findings.raise_finding(
        point, "limit-hour:a21026", level, "二氧化硫小时均值超标", "SO2 over", detail, [verdict], at, at + 60
    )


def test_the_same_finding_again_folds_into_the_open_one(city):
    first = exceed(city, 1, multiple=0.2)
    second = exceed(city, 2, hour=1, multiple=0.4)
    assert first.pk == second.pk
    assert (second.count, second.verdicts, second.detail) == (2, [1, 2], {"multiple": 0.4})
    assert (second.last_at - second.first_at).total_seconds() == HOUR


def test_the_same_verdict_never_raises_twice_even_after_it_was_dismissed(city):
    finding = exceed(city, 1)
    findings.dismiss(finding, city.users["duty"], "校准气误入", NOW)
    assert exceed(city, 1).pk == finding.pk
    assert Finding.objects.count() == 1


def test_an_older_occurrence_moves_the_beginning_but_not_what_is_shown(city):
    exceed(city, 1, hour=5, multiple=0.2)
    finding = exceed(city, 2, hour=1, multiple=0.9)
    assert finding.first_at.timestamp() == NOW + HOUR
    assert finding.detail == {"multiple": 0.2}


def test_two_at_the_same_moment_open_one(city):
    errors: list[Exception] = []

    def raise_it(number: int) -> None:
        try:
            exceed(city, number, hour=number)
        except Exception as error:  # shown by the assertion below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=raise_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    finding = Finding.objects.get()
    assert (finding.count, sorted(finding.verdicts)) == (6, [0, 1, 2, 3, 4, 5])


def test_a_finding_opens_anew_after_the_old_one_was_closed(city):
    old = exceed(city, 1)
    findings.dismiss(old, city.users["duty"], "误报", NOW)
    assert exceed(city, 2, hour=3).pk != old.pk


def test_only_one_can_claim(city):
    finding = exceed(city, 1)
    findings.claim(finding, city.users["duty"], "", NOW)
    assert (finding.state, finding.owner) == ("claimed", city.users["duty"])
    with pytest.raises(FindingError, match="duty"):
        findings.claim(finding, city.users["enforcement"], "", NOW)


@pytest.mark.parametrize("action", [findings.note, findings.dismiss])
def test_a_note_and_a_dismissal_need_words(city, action):
    with pytest.raises(FindingError, match="请填写"):
        action(exceed(city, 1), city.users["duty"], "  ", NOW)


def test_a_finding_is_handed_to_somebody_who_may_handle_it(city):
    finding = exceed(city, 1)
    findings.hand_over(finding, city.users["duty"], "请现场核查", NOW, to=city.users["enforcement"])
    assert (finding.state, finding.owner) == ("claimed", city.users["enforcement"])
    with pytest.raises(FindingError, match="不能转给"):
        findings.hand_over(finding, city.users["duty"], "请核查", NOW, to=city.users["west_officer"])


def test_who_has_no_right_there_is_refused_with_the_reason(city):
    finding = exceed(city, 1)
    for name in ("west_officer", "enterprise", "admin"):
        with pytest.raises(Forbidden):
            findings.dismiss(finding, city.users[name], "误报", NOW)
    finding.refresh_from_db()
    assert finding.state == "open"


def test_everything_people_do_is_an_event_and_in_the_audit_trail(city):
    finding = exceed(city, 1)
    findings.claim(finding, city.users["duty"], "先看", NOW + 100)
    findings.note(finding, city.users["duty"], "企业称在校准", NOW + 101)
    findings.dismiss(finding, city.users["duty"], "有校准记录", NOW + 102)
    assert [(e.action, e.text) for e in finding.events.all()][1:] == [
        ("claim", "先看"), ("note", "企业称在校准"), ("dismiss", "有校准记录"),
    ]  # fmt: skip
    actions = AuditEvent.objects.filter(subject=f"finding:{finding.pk}").values_list("action", flat=True)
    assert list(actions) == ["finding.claim", "finding.note", "finding.dismiss"]
    assert audit.verify() is None


def target(city, **fields) -> NoticeTarget:
    defaults = {"kind": "webhook", "address": "http://127.0.0.1:9/x", "region": city.city, "level": 2}
    return NoticeTarget.objects.create(**(defaults | fields))


def test_a_new_finding_makes_notices_for_its_region_and_level_and_a_repeated_one_none(city):
    target(city)
    target(city, region=city.west)
    target(city, level=3)
    target(city, active=False)
    exceed(city, 1)
    exceed(city, 2, hour=1)
    assert Notice.objects.count() == 1
    exceed(city, 3, hour=2, level=3)
    assert Notice.objects.count() == 3


def test_a_muted_finding_folds_in_silence(city):
    target(city)
    finding = exceed(city, 1)
    findings.mute(finding, city.users["duty"], "停产检修", NOW, until=when(NOW + 10 * HOUR))
    exceed(city, 2, hour=1, level=3)
    assert Notice.objects.count() == 1
    exceed(city, 3, hour=2)
    finding.refresh_from_db()
    assert finding.count == 3
    with pytest.raises(FindingError, match="30 天"):
        findings.mute(finding, city.users["duty"], "永远", NOW, until=when(NOW + 90 * 86400))


def test_old_news_disturb_nobody(city):
    target(city)
    point = city.points["gas_outlet"]
    findings.raise_finding(point, "limit-hour:a21026", 2, "超标", "over", {}, [9], NOW - 40 * 86400, NOW)
    assert Notice.objects.count() == 0


def revise(finding: Finding, previous: int, verdict: int, text: str, now: float) -> None:
    pair = (finding.point_id, finding.rule)
    findings.at_once({pair}, now, lambda desk: desk.revise(*pair, previous, verdict, False, text))


def test_a_revised_verdict_is_told_and_ends_what_has_lost_its_ground(city):
    finding = exceed(city, 1)
    exceed(city, 2, hour=1)
    revise(finding, 1, 5, "08:00 重新判定：达标", NOW + 5 * HOUR)
    finding.refresh_from_db()
    assert finding.state == "open"
    revise(finding, 2, 6, "09:00 重新判定：达标", NOW + 6 * HOUR)
    revise(finding, 2, 6, "09:00 重新判定：达标", NOW + 6 * HOUR)
    finding.refresh_from_db()
    assert finding.state == "ended"
    assert [event.action for event in finding.events.all()] == ["raised", "revised", "revised", "ended"]


def test_a_claimed_finding_is_not_ended_behind_the_back_of_its_owner(city):
    finding = exceed(city, 1)
    findings.claim(finding, city.users["duty"], "", NOW + 100)
    revise(finding, 1, 5, "重新判定：达标", NOW + 200)
    findings.end_finding(finding.point, finding.rule, "恢复", NOW + 300)
    findings.end_finding(finding.point, finding.rule, "恢复", NOW + 400)
    finding.refresh_from_db()
    assert finding.state == "claimed"
    assert [event.action for event in finding.events.all()] == ["raised", "claim", "revised", "note"]


def test_a_failed_transaction_leaves_no_finding(city):
    def fail() -> None:
        with transaction.atomic():
            exceed(city, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not Finding.objects.exists()


def test_on_an_english_page_what_cannot_be_done_with_a_finding_is_said_in_english(city):
    finding, duty = exceed(city, 1), city.users["duty"]
    deeds = (
        lambda: findings.note(finding, duty, " ", NOW),
        lambda: findings.mute(finding, duty, "x", NOW, until=findings.when(NOW - 1)),
        lambda: findings.hand_over(finding, duty, "x", NOW, to=city.users["enterprise"]),
        lambda: findings.claim(finding, duty, "", NOW) and findings.claim(finding, duty, "", NOW),
        lambda: findings.dismiss(finding, duty, "x", NOW) and findings.dismiss(finding, duty, "x", NOW),
    )
    with translation.override("en"):
        for deed in deeds:
            with pytest.raises(findings.FindingError) as refused:
                deed()
            assert not re.search(r"[\u3400-\u9fff]", str(refused.value))


def test_what_somebody_claims_meanwhile_stays_claimed(city):
    """A person who is quicker than the fold waits for it or is waited for; neither overwrites the other."""
    finding = exceed(city, 1)

    def claim() -> None:
        findings.claim(Finding.objects.get(pk=finding.pk), city.users["duty"], "", NOW)
        connection.close()

    pair = (finding.point_id, finding.rule)
    thread = threading.Thread(target=claim)

    def work(desk: findings.Desk) -> None:
        thread.start()
        thread.join(0.2)
        desk.raise_finding(*pair, 3, "又超标", "", {}, [2], NOW + HOUR)

    findings.at_once({pair}, NOW + HOUR, work)
    thread.join()
    finding.refresh_from_db()
    assert (finding.state, finding.owner, finding.count) == ("claimed", city.users["duty"], 2)


def test_many_at_once_take_no_more_questions_than_two(city):
    points = [point.pk for point in city.points.values()]
    asked = []
    for several in (2, len(points)):
        pairs = {(point, f"limit-hour:{n}") for point in points[:several] for n in range(several)}
        with CaptureQueriesContext(connection) as questions:
            for hour in range(2):
                findings.at_once(pairs, NOW, lambda desk, at=NOW + hour * HOUR, pairs=pairs: [
                    desk.raise_finding(*pair, 2, "超标", "over", {}, [number + int(at)], at)
                    for number, pair in enumerate(sorted(pairs))
                ])  # fmt: skip
        asked.append(len(questions))
        assert Finding.objects.filter(count=2).count() == len(pairs)
        FindingEvent.objects.all().delete()
        Finding.objects.all().delete()
    assert asked[0] == asked[1]


RULES = ("limit-hour:a21026", "silent")
PLACES = st.tuples(st.integers(0, 1), st.sampled_from(RULES))
DEEDS = st.one_of(
    st.tuples(
        st.just("raise"), PLACES, st.integers(1, 3), st.lists(st.integers(0, 9), max_size=2, unique=True),
        st.integers(0, 6), st.sampled_from([None, "甲", "乙"]),
    ),
    st.tuples(st.just("revise"), PLACES, st.integers(0, 9), st.integers(5, 14), st.booleans()),
    st.tuples(st.just("end"), PLACES, st.sampled_from(["恢复", "在线"])),
    st.tuples(st.sampled_from(["claim", "dismiss", "mute"]), PLACES),
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DEEDS, max_size=14))
def test_however_many_come_at_once_what_becomes_of_them_is_the_same(city, deeds):
    NoticeTarget.objects.get_or_create(kind="webhook", address="http://127.0.0.1:9/x", region=city.city, level=2)
    assert _told(city, _parts(deeds)) == _told(city, ([deed] for deed in deeds))


def _parts(deeds):
    """Runs of what the clockwork does; what a person does stands alone."""
    for is_people, part in itertools.groupby(deeds, lambda deed: deed[0] in PEOPLE):
        run = list(part)
        yield from ([deed] for deed in run) if is_people else [run]


PEOPLE = {
    "claim": lambda finding, user: findings.claim(finding, user, "", NOW),
    "dismiss": lambda finding, user: findings.dismiss(finding, user, "误报", NOW),
    "mute": lambda finding, user: findings.mute(finding, user, "检修", NOW, until=when(NOW + 9 * HOUR)),
}


def _told(city, parts) -> list:
    """What the parts leave behind when each is done at once; nothing stays."""
    points = [city.points["gas_outlet"], city.points["water_outlet"]]
    with transaction.atomic():
        for part in parts:
            if part[0][0] in PEOPLE:
                _by_people(city, points, *part[0])
            else:
                pairs = {(points[place].pk, rule) for _, (place, rule), *_ in part}
                findings.at_once(
                    pairs, NOW, lambda desk, part=part: [_by_clockwork(desk, points, *one) for one in part]
                )
        left = _left()
        transaction.set_rollback(True)
    return left


def _by_people(city, points, action, place) -> None:
    states = ("open",) if action == "claim" else ("open", "claimed")
    finding = Finding.objects.filter(point=points[place[0]], rule=place[1], state__in=states).first()
    if finding is not None:
        PEOPLE[action](finding, city.users["duty"])


def _by_clockwork(desk, points, deed, place, *rest) -> None:
    point, rule = points[place[0]].pk, place[1]
    if deed == "raise":
        level, verdicts, hour, occurrence = rest
        detail = {"zh": f"{hour} 时"} | ({} if occurrence is None else {"occurrence": occurrence})
        desk.raise_finding(point, rule, level, f"{level} 级", "over", detail, verdicts, NOW + hour * HOUR)
    elif deed == "revise":
        desk.revise(point, rule, *rest, "重新判定")
    else:
        desk.end(point, rule, *rest)


def _left() -> list:
    names = [field.name for field in Finding._meta.fields if field.name != "id"]
    return [
        (
            finding,
            list(FindingEvent.objects.filter(finding=number).values_list("action", "text", "at", "who")),
            list(Notice.objects.filter(finding=number).order_by("pk").values_list("target", "made_at", "state")),
        )
        for number, *finding in Finding.objects.order_by("pk").values_list("pk", *names)
    ]
