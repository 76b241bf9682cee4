"""Working days of 2025 and 2026 as the State Council arranged them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.standards import calendar, tables
from ceguan.words import BEIJING

days = st.dates(date(2025, 1, 1), date(2026, 11, 1))


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in tables.rows(tables.CalendarDay)])
def test_an_exception_contradicts_the_weekday_rule(row):
    weekend = row.day.weekday() >= 5
    assert row.kind == ("workday" if weekend else "holiday")
    assert row.valid_from == row.valid_to == row.day


def test_the_year_2026_has_248_working_days():
    first = date(2026, 1, 1)
    assert sum(calendar.is_working_day(first + timedelta(days=i)) for i in range(365)) == 248


@pytest.mark.parametrize(
    ("start", "n", "due"),
    [
        (date(2026, 3, 2), 5, date(2026, 3, 9)),  # Monday to Monday
        (date(2026, 9, 30), 1, date(2026, 10, 8)),  # over the National Day week
        (date(2026, 10, 8), 2, date(2026, 10, 10)),  # Saturday 10 October is worked
        (date(2026, 2, 13), 1, date(2026, 2, 14)),  # so is Saturday 14 February
        (date(2026, 2, 14), 1, date(2026, 2, 24)),  # then Spring Festival
        (date(2026, 5, 1), 0, date(2026, 5, 1)),
    ],
)
def test_working_days_are_counted_from_the_day_after(start, n, due):
    assert calendar.add_working_days(start, n)[0] == due


def test_each_skipped_day_says_why():
    _, skipped = calendar.add_working_days(date(2026, 9, 30), 1)
    assert [(s.day.day, s.reason.zh) for s in skipped] == [
        (1, "国庆节"),
        (2, "国庆节"),
        (3, "周末"),
        (4, "周末"),
        (5, "国庆节"),
        (6, "国庆节"),
        (7, "国庆节"),
    ]


@given(days, st.integers(0, 30))
def test_adding_and_counting_agree(start, n):
    end, skipped = calendar.add_working_days(start, n)
    assert calendar.working_days_between(start, end) == n
    assert (end - start).days == n + len(skipped)


@given(days, days)
def test_counting_backwards_is_negative(a, b):
    assert calendar.working_days_between(a, b) == -calendar.working_days_between(b, a)


def test_a_year_without_an_arrangement_is_refused_by_name():
    with pytest.raises(calendar.CalendarMissing, match="2027"):
        calendar.add_working_days(date(2026, 12, 30), 5)


def test_a_negative_number_of_days_is_refused():
    with pytest.raises(ValueError, match="-1"):
        calendar.add_working_days(date(2026, 1, 5), -1)


def test_a_missing_year_is_overdue_from_the_middle_of_december():
    assert calendar.overdue(date(calendar.years()[-1], 12, 15)) is None
    assert "国务院办公厅" in calendar.overdue(date(calendar.years()[-1], 12, 16))


def test_the_arrangement_of_the_coming_year_is_in_the_table():
    """Fails from 16 December of the last year in the table: then fetch what the message says."""
    wanted = calendar.overdue(datetime.now(BEIJING).date())
    assert wanted is None, wanted
