"""Commands of the host to a field machine, as tables: what may be sent in which edition, with which parameters.

commands.csv    one row per command and edition. `layout`: the data area as the standard prints it, with its own
                separators; `?` after a name: may be left out, `*`: may stand several times, `?` alone: the form is not
                known, the command cannot be sent. `answer`: result (9012 alone), one (an upload, then 9012), many
                (uploads until 9012), notice (9013). `encrypted`: the area is SM4 where the device has a key.
parameters.csv  one row per parameter and edition: kind, range or choices, unit
returns.csv     QnRtn and ExeRtn in words
links.csv       time-out and re-sends by kind of line

The tables hold what could be read of each edition; `trust` and `source` say how sure a row is (2025: text not seen).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from ceguan.intake.sheets import table
from ceguan.standards import factors
from ceguan.words import Label

EDITIONS = ("2005", "2017", "2025")
SECRETS = frozenset({"NewPW", "PW", "NewSK"})
"""Parameters that are passwords or keys: kept sealed, shown nowhere."""

_TOKEN = re.compile(r"(\w+)([?*]?)([;,]?)")
_TEXT = re.compile(r"[^;,&=\r\n#]+")
_INFO = re.compile(r"i\d{5}")


class Risk(StrEnum):
    """What a command does to the field."""

    READS = "reads"
    CHANGES = "changes"
    ACTS = "acts"


RISKS = {
    Risk.READS: Label("只读取", "reads"),
    Risk.CHANGES: Label("改变参数", "changes parameters"),
    Risk.ACTS: Label("动作仪器", "acts on the instrument"),
}
GROUPS = {
    "init": Label("初始化与参数", "initialisation and parameters"),
    "data": Label("数据", "data"),
    "control": Label("控制", "control"),
}


class CommandError(ValueError):
    """The command cannot be sent like this; the message says what is wrong and what would be valid."""


class Token(NamedTuple):
    """One parameter of a layout. `before`: the separator in front of it; `mark`: "", "?" or "*"."""

    name: str
    mark: str
    before: str


@dataclass(frozen=True, slots=True)
class Command:
    """A row of commands.csv."""

    cn: str
    edition: str
    name: str
    name_en: str
    layout: str
    answer: str
    group: str
    risk: Risk
    encrypted: bool
    brings: str
    brings_en: str
    standard: str
    clause: str
    trust: str
    source: str
    note: str

    @property
    def sendable(self) -> bool:
        return self.layout != "?"

    @property
    def tokens(self) -> tuple[Token, ...]:
        return _tokens(self.layout) if self.sendable else ()

    @property
    def label(self) -> Label:
        return Label(self.name, self.name_en)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A row of parameters.csv; `low` and `high` are None where the standard's range is not known."""

    name: str
    edition: str
    zh: str
    en: str
    kind: str
    low: int | None
    high: int | None
    choices: tuple[str, ...]
    unit: str
    standard: str
    clause: str
    trust: str
    source: str
    note: str

    @property
    def label(self) -> Label:
        return Label(self.zh, self.en)

    @property
    def wanted(self) -> Label:
        """What would be valid, in words."""
        span = f"{self.low if self.low is not None else '…'}–{self.high if self.high is not None else '…'}"
        choices = "、".join(self.choices), ", ".join(self.choices)
        words = {
            "int": (f"{span} 的整数", f"a whole number, {span}"),
            "choice": choices,
            "time": ("年月日时分秒 14 位数字", "YYYYMMDDhhmmss"),
            "now": ("年月日时分秒 14 位数字，或省略", "YYYYMMDDhhmmss, or left out"),
            "clock": ("时分秒 6 位数字", "hhmmss"),
            "factor": ("设备的因子编码", "a factor of the device"),
            "password": ("6 位字母或数字", "6 letters or digits"),
            "key": ("由平台生成", "made by the platform"),
            "hours": (f"{span} 的整点，空格分隔", f"full hours, {span}, by blanks"),
            "info": ("i 加 5 位数字", "i and 5 digits"),
            "text": (f"{span} 个字符，不含 ; , & = # 和换行", f"{span} characters, none of ; , & = #"),
        }
        zh, en = words[self.kind]
        return Label(zh + (f"（{self.unit}）" if self.unit else ""), en)


class Return(NamedTuple):
    """A row of returns.csv."""

    kind: str
    edition: str
    code: str
    zh: str
    en: str
    standard: str
    clause: str
    trust: str
    source: str


class Link(NamedTuple):
    """A row of links.csv: [s] and the number of re-sends after the first send."""

    link: str
    edition: str
    over_time: int
    re_count: int
    standard: str
    clause: str
    trust: str
    source: str


# ── the tables ────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def rows() -> tuple[Command, ...]:
    return tuple(
        Command(**row | {"risk": Risk(row["risk"]), "encrypted": row["encrypted"] == "1"})  # type: ignore[arg-type]
        for row in table("hj212/commands.csv")
    )


@cache
def of_edition(edition: str) -> dict[str, Command]:
    """CN → command of one edition, in the order of the table."""
    return {row.cn: row for row in rows() if row.edition == edition}


@cache
def parameters() -> dict[tuple[str, str], Parameter]:
    """(edition, name) → row."""
    return {(row["edition"], row["name"]): _parameter(row) for row in table("hj212/parameters.csv")}


def _parameter(row: dict[str, str]) -> Parameter:
    low, high = (int(row[name]) if row[name] else None for name in ("low", "high"))
    return Parameter(**row | {"low": low, "high": high, "choices": tuple(row["choices"].split())})  # type: ignore[arg-type]


@cache
def returns() -> dict[tuple[str, str, str], Return]:
    """(QnRtn or ExeRtn, edition, code) → row."""
    return {(row["kind"], row["edition"], row["code"]): Return(**row) for row in table("hj212/returns.csv")}


def said(kind: str, edition: str, code: str) -> Label:
    """A return code in words; one that no edition has is shown as it came."""
    row = next((r for e in (edition, *EDITIONS) if (r := returns().get((kind, e, code)))), None)
    return Label(row.zh, row.en) if row else Label(f"标准中没有的代码 {code}", f"code {code}, not in the standard")


@cache
def links() -> dict[tuple[str, str], Link]:
    """(edition, kind of line) → row."""
    return {
        (row["edition"], row["link"]): Link(**row | {n: int(row[n]) for n in ("over_time", "re_count")})  # type: ignore[arg-type]
        for row in table("hj212/links.csv")
    }


def defaults(edition: str, link: str) -> tuple[int, int]:
    """(time-out [s], re-sends) of this kind of line; of the edition's first one where the edition does not name it."""
    row = links().get((edition, link)) or next(row for (e, _), row in links().items() if e == edition)
    return row.over_time, row.re_count


@cache
def _tokens(layout: str) -> tuple[Token, ...]:
    found, before = [], ""
    for name, mark, after in _TOKEN.findall(layout):
        found.append(Token(name, mark, before))
        before = after
    return tuple(found)


# ── one command ───────────────────────────────────────────────────────────────────────────────────────────────────


def find(cn: str, edition: str) -> Command:
    """The row; raises CommandError that names the commands of this edition."""
    command = of_edition(edition).get(cn)
    if command is None:
        known = "、".join(row.cn for row in of_edition(edition).values() if row.sendable)
        raise CommandError(f"{edition} 版没有可下发的命令 {cn}；可用：{known}")
    if not command.sendable:
        raise CommandError(f"{cn} {command.name}：{command.note}")
    return command


def check(command: Command, given: Mapping[str, str], codes: Collection[str] = ()) -> dict[str, str]:
    """The parameters as they will be sent, in the order of the layout; blank ones are left out.

    `codes`: the factor codes of the device, which PolId must be one of (old and new codes are the same factor; an
    edition of 2005 gets the old one). Raises CommandError for the first parameter that is unknown, missing or wrong.
    """
    names = [token.name for token in command.tokens]
    given = {name: value.strip() for name, value in given.items() if value.strip()}
    if unknown := next((name for name in given if name not in names), None):
        raise CommandError(f"{command.cn} 没有参数 {unknown}；可用：{'、'.join(names) or '无'}")
    checked = {}
    for token in command.tokens:
        row = parameters()[command.edition, token.name]
        if token.name in given:
            checked[token.name] = _value(row, given[token.name], codes)
        elif token.mark != "?" and row.kind not in ("now", "key"):
            raise CommandError(f"{command.cn} 缺少参数 {token.name}（{row.zh}）：应为{row.wanted.zh}")
    _check_span(command, checked)
    return checked


def _check_span(command: Command, checked: Mapping[str, str]) -> None:
    begin, end = checked.get("BeginTime"), checked.get("EndTime")
    if (begin is None) != (end is None):
        raise CommandError(f"{command.cn} 的 BeginTime 和 EndTime 须同时给出")
    if begin and end and end < begin:
        raise CommandError(f"{command.cn} 的截止时间 {end} 早于开始时间 {begin}")


def _value(row: Parameter, text: str, codes: Collection[str]) -> str:
    value = _READERS[row.kind](row, text, codes)
    if value is None:
        choices = f"；该设备有：{'、'.join(sorted(codes)) or '无'}" if row.kind == "factor" else ""
        shown = "" if row.name in SECRETS else f"，得到 {text!r}"
        raise CommandError(f"{row.name}（{row.zh}）应为{row.wanted.zh}{shown}{choices}")
    return value


def _int(row: Parameter, text: str, _: Collection[str]) -> str | None:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    number = int(text)
    low, high = (row.low or 0), (number if row.high is None else row.high)
    return str(number) if low <= number <= high else None


def _hours(row: Parameter, text: str, codes: Collection[str]) -> str | None:
    """Blank-separated hours, each two digits."""
    hours = [_int(row, hour, codes) for hour in text.split()]
    return None if not hours or None in hours else " ".join(f"{int(hour):02}" for hour in hours if hour)


def _factor(row: Parameter, text: str, codes: Collection[str]) -> str | None:
    mine = {factors.current_code(code) for code in codes}
    current = factors.current_code(text)
    if current not in mine:
        return None
    known = factors.find(current)
    return known.code05 if row.edition == "2005" and known and known.code05 else current


def _moment(pattern: str, size: int):
    def read(_row: Parameter, text: str, _codes: Collection[str]) -> str | None:
        try:
            datetime.strptime(text, pattern)  # noqa: DTZ007  only whether it is a time
        except ValueError:
            return None
        return text if len(text) == size and text.isascii() and text.isdigit() else None

    return read


def _sized(row: Parameter, text: str, _: Collection[str]) -> str | None:
    return text if row.low <= len(text) <= row.high else None  # type: ignore[operator]


_READERS = {
    "int": _int,
    "hours": _hours,
    "factor": _factor,
    "time": _moment("%Y%m%d%H%M%S", 14),
    "now": _moment("%Y%m%d%H%M%S", 14),
    "clock": _moment("%H%M%S", 6),
    "choice": lambda row, text, _: text if text in row.choices else None,
    "info": lambda _row, text, _: text if _INFO.fullmatch(text) else None,
    "text": lambda row, text, codes: _sized(row, text, codes) if _TEXT.fullmatch(text) else None,
    "password": lambda row, text, codes: _sized(row, text, codes) if text.isascii() and text.isalnum() else None,
    "key": lambda row, text, codes: _sized(row, text, codes) if text.isascii() and text.isalnum() else None,
}


def area(command: Command, values: Mapping[str, str]) -> str:
    """The data area between `CP=&&` and `&&`, with the separators of the layout; `values` as `check` gave them."""
    parts: list[str] = []
    for token in command.tokens:
        value = values.get(token.name)
        for one in [] if value is None else value.split() if token.mark == "*" else [value]:
            name = f"{values['InfoId']}-Info" if token.name == "Info" else token.name
            parts += [token.before or ";"] * bool(parts) + [f"{name}={one}"]
    return "".join(parts)
