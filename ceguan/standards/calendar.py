"""工作日: working days of the State Council's holiday arrangements (table work_calendar.csv).

A day is a working day when it is Monday to Friday, unless the year's arrangement says otherwise. A year whose
arrangement is not in the table is refused, never guessed.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

from ceguan.standards.tables import CalendarDay, rows
from ceguan.words import Label

WEEKEND = Label("周末", "weekend")
OVERDUE_FROM = (12, 15)  # the arrangement for the next year is published in autumn; from this day it must be here


class CalendarMissing(LookupError):
    """The holiday arrangement of a year is not in the table."""


class Skipped(NamedTuple):
    """A day that does not count, and why."""

    day: date
    reason: Label


@cache
def exceptions() -> dict[date, CalendarDay]:
    return {row.day: row for row in rows(CalendarDay)}


@cache
def years() -> tuple[int, ...]:
    """Years whose arrangement is in the table."""
    return tuple(sorted({day.year for day in exceptions()}))


def _known(day: date) -> date:
    if day.year not in years():
        raise CalendarMissing(
            f"工作日历缺少 {day.year} 年：请把国务院办公厅关于 {day.year} 年部分节假日安排的通知录入 work_calendar.csv"
            f" (the holiday list of {day.year} is missing)"
        )
    return day


def why_not_working(day: date) -> Label | None:
    """None on a working day, else the reason: a festival or the weekend. Raises CalendarMissing."""
    exception = exceptions().get(_known(day))
    if exception is not None:
        return Label(exception.festival, exception.festival_en) if exception.kind == "holiday" else None
    return WEEKEND if day.weekday() >= 5 else None


def is_working_day(day: date) -> bool:
    """True on a day that counts. Raises CalendarMissing beyond the table."""
    return why_not_working(day) is None


def add_working_days(day: date, n: int) -> tuple[date, list[Skipped]]:
    """The n-th working day after `day` (which itself never counts), and the days skipped on the way.

    n = 0 gives `day` itself. Raises ValueError for n < 0 and CalendarMissing when the way leaves the table.
    """
    if n < 0:
        raise ValueError(f"工作日数不能为负：{n} (working days cannot be negative)")
    skipped: list[Skipped] = []
    while n:
        day += timedelta(days=1)
        reason = why_not_working(day)
        if reason is None:
            n -= 1
        else:
            skipped.append(Skipped(day, reason))
    return day, skipped


def working_days_between(start: date, end: date) -> int:
    """Working days after `start` up to and including `end`; negative when `end` lies before `start`."""
    if end < start:
        return -working_days_between(end, start)
    return sum(is_working_day(start + timedelta(days=i)) for i in range(1, (end - start).days + 1))


def overdue(today: date) -> str | None:
    """What to fetch when the next year's arrangement should be in the table by now, else None."""
    last = years()[-1]
    if today <= date(last, *OVERDUE_FROM):
        return None
    return (
        f"请到 www.gov.cn 查找《国务院办公厅关于{last + 1}年部分节假日安排的通知》，并录入 "
        f"ceguan/standards/work_calendar.csv (fetch the State Council's holiday list of {last + 1})"
    )
