"""保存期限: how long data of a kind are kept at least, and whether they may be deleted after (table retention.csv).

The longest period of all rows in force on the day of deletion counts. What no row gives a period for is kept for ever.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import NamedTuple

from ceguan.standards.tables import Retention, in_force
from ceguan.words import Label

PLATFORM = "平台保存规则"
"""The rows that say what may happen after the period: the platform's own."""
SELF = "self_monitoring"


class Kept(NamedTuple):
    """What holds for a kind of data: the platform's `rule`, the longest period (None: none is known), and the rows that
    give one, the longest first."""

    rule: Retention
    months: int | None
    basis: tuple[Retention, ...]

    @property
    def name(self) -> Label:
        return Label(self.rule.name, self.rule.name_en)

    @property
    def cite(self) -> str:
        """The clauses, e.g. "排污许可管理条例 第十九条、生态环境监测条例 第二十六条"."""
        return "、".join(row.cite for row in self.basis)

    def free_from(self, made: date) -> date | None:
        """The first day on which what was made on `made` may be deleted; None = never.

        The day itself does not count (民法典 第二百零一条), the last day is that of the same date (第二百零二条): five
        years from 2021-03-01 end with 2026-03-01.
        """
        if self.rule.after != "act" or self.months is None:
            return None
        return _later(made, self.months) + timedelta(days=1)


def kinds() -> tuple[str, ...]:
    """Every kind of data, in the order of the table."""
    return tuple(row.kind for row in in_force(Retention, date.max, standard=PLATFORM))


def kept(kind: str, day: date, scope: str = "", own_months: int = 0) -> Kept:
    """What holds on a day for data of a kind; `scope`: SELF for what a discharger measures, "" for all else.

    `own_months`: the bureau's own period (0 = none), which counts where it is longer, or where no row gives one.
    Raises KeyError for a kind that the table does not have.
    """
    found = in_force(Retention, day, kind=kind)
    rule = next((row for row in found if row.standard == PLATFORM), None)
    if rule is None:
        raise KeyError(kind)
    basis = [row for row in found if row.months is not None and row.scope in ("", scope)]
    basis.sort(key=lambda row: -(row.months or 0))
    months = max([row.months or 0 for row in basis] + [own_months]) or None
    return Kept(rule, months, tuple(basis))


def _later(day: date, months: int) -> date:
    """The same day so many months later, or the last of the month where there is none."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
