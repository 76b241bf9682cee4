"""Uploads → readings: which moment, which value, and what is odd about the numbers.

Behind a CRC that lets one random damage in 256 pass, numbers must speak for themselves: a bad one is left out with its
cause, an implausible one (Min ≤ Avg ≤ Max broken, more digits than the factor's format has) is kept and reported.
Units are the series' business, not ours. `checks` reads automatic standard-sample checks, which are no readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from ceguan.intake.hj212.frame import Frame
from ceguan.standards import factors
from ceguan.words import BEIJING, DEVICE_FLAGS, Kind

KINDS = {"2011": Kind.RT, "2051": Kind.MINUTE, "2061": Kind.HOUR, "2031": Kind.DAY}
"""CN → kind. Other uploads (2021 states, 2041 running hours, 2081 start) hold no readings."""

_MEAN = ("Avg", "Rtd", "Data")  # Data: noise statistics (2017 表C.21)
_VALUE = {Kind.RT: ("Rtd", "Avg", "Data"), Kind.MINUTE: _MEAN, Kind.HOUR: _MEAN, Kind.DAY: _MEAN}
_CONVERTED = {kind: tuple(f"Zs{name}" for name in names if name != "Data") for kind, names in _VALUE.items()}
_LENGTHS = (14, 16, 17)  # the standard has 14 digits; hundredths and thousandths of a second are met in the field
_FLAGS_2005 = frozenset("PF0123")  # flue gas source P, F; air stations 0–3 (HJ/T 212-2005)
_REPORTED = frozenset({"Flag", "flag", "Min", "Max", "Cou"})
"""Fields that announce a measurement; states and site information (RS, RT, SN, Info) announce none."""


class Item(NamedTuple):
    """One factor of an upload. Floats as sent, NaN where the device sent none; `flag` "" likewise.

    `factor`: the 2017 code; `sent`: the code the device used, whose unit may differ from the 2017 default.
    """

    factor: str
    value: float
    zs: float
    vmin: float
    vmax: float
    cou: float
    flag: str
    sent: str


class Upload(NamedTuple):
    """What a frame brought. `kind` None: no readings in it. `ts`: UTC epoch seconds of the interval's start.

    `items` is empty if the frame is broken, brings no readings, or has no readable time; `warnings` says why.
    """

    mn: str
    kind: Kind | None
    ts: int | None
    items: list[Item]
    warnings: list[str]


def rows(frame: Frame, interval_default: int = 60) -> Upload:
    """The readings of one frame. `interval_default`: grid of minute data [s], 60 unless the device is known better.

    DataTime of 2051, 2061 and 2031 is the start of the interval (HJ 212-2017 表4). A time off the grid is moved back to
    the start of the interval it lies in, with the warning `ts_off_grid`, so that a re-sent value meets the first one.
    """
    kind, mn = KINDS.get(frame.cn or ""), frame.mn or ""
    if not frame.ok:
        return Upload(mn, kind, None, [], [f"broken:{frame.error}"])
    if kind is None or not (frame.factors or frame.datatime):  # a request for data has the same CN as its upload
        return Upload(mn, None, None, [], [])
    moment = parse_time(frame.datatime)
    if moment is None:
        return Upload(mn, kind, None, [], [f"bad_time:{frame.datatime}"])
    ts = interval_start(moment, kind, interval_default)
    warnings = ["ts_off_grid"] if ts != moment else []
    if frame.edition in (2017, 2025) and moment > (parse_time(frame.qn) or moment):
        warnings.append("time_after_qn")  # in 2005 the QN may be that of an earlier request
    items = [_item(code, fields, kind, frame.edition, warnings) for code, fields in frame.factors.items()]
    return Upload(mn, kind, ts, [item for item in items if item], warnings)


def parse_time(text: str | None) -> int | None:
    """UTC epoch seconds of a Beijing wall time YYYYMMDDhhmmss (fractions of a second are dropped), else None."""
    if text is None or len(text) not in _LENGTHS or not (text.isascii() and text.isdigit()):
        return None
    parts = (int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))
    try:
        return int(datetime(*parts, tzinfo=BEIJING).timestamp())  # type: ignore[arg-type, misc]
    except (ValueError, OverflowError):
        return None


def write_time(ts: float) -> str:
    """The reverse: 14 digits of Beijing wall time."""
    return datetime.fromtimestamp(ts, UTC).astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def interval_start(ts: int, kind: Kind, interval: int = 60) -> int:
    """Start of the interval a moment lies in [UTC epoch s]; a real-time value stays. Days are Beijing days."""
    length = {Kind.RT: 1, Kind.MINUTE: interval, Kind.HOUR: 3600, Kind.DAY: 86400}[kind]
    beijing = 8 * 3600
    return (ts + beijing) // length * length - beijing


def _item(code: str, fields: Mapping[str, str], kind: Kind, edition: int | None, warnings: list[str]) -> Item | None:
    """One factor; None if its value is no number or nothing in it is one."""
    value = _first(code, fields, _VALUE[kind], warnings)
    zs = _first(code, fields, _CONVERTED[kind], warnings)
    low, high, total = (_number(code, fields, name, warnings) for name in ("Min", "Max", "Cou"))
    if value != value and (any(name in fields for name in _VALUE[kind]) or _all_nan(zs, low, high, total)):
        if not _REPORTED.isdisjoint(fields) and not any(name in fields for name in _VALUE[kind]):
            warnings.append(f"nothing_measured:{code}")
        return None
    if not _ordered(low, value, high):
        warnings.append(f"min_avg_max:{code}")
    most = bound(code, edition)
    if most is None:
        warnings.append(f"unknown_factor:{code}")
    elif abs(value) >= most or abs(zs) >= most or abs(low) >= most or abs(high) >= most:
        warnings.append(f"beyond_format:{code}")
    return Item(factors.current_code(code), value, zs, low, high, total, _flag(code, fields, warnings), code)


@lru_cache(maxsize=4096)
def bound(code: str, edition: int | None) -> float | None:
    """What a value of this factor stays below: format N3.1 (附录B) has three digits before the point. None: unknown."""
    known = factors.find(code, edition)
    if known is None:
        return None
    digits = known.format.removeprefix("N").partition(".")[0]
    return 10.0 ** int(digits) if known.format.startswith("N") and digits.isdigit() else math.inf


def _first(code: str, fields: Mapping[str, str], names: tuple[str, ...], warnings: list[str]) -> float:
    """The first of the fields that was sent; a mean sent as Rtd (or the reverse) is taken, and said."""
    for name in names:
        if name in fields:
            if name == names[1]:
                warnings.append(f"unusual_field:{code}-{name}")
            return _number(code, fields, name, warnings)
    return math.nan


def _number(code: str, fields: Mapping[str, str], name: str, warnings: list[str]) -> float:
    text = fields.get(name)
    if text is None:
        return math.nan
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        warnings.append(f"bad_number:{code}-{name}={text}" if text else f"empty:{code}-{name}")
        return math.nan
    return number


def _flag(code: str, fields: Mapping[str, str], warnings: list[str]) -> str:
    """The device's own flag as sent, also where the field is called `flag`; one nobody knows is kept and reported."""
    flag = fields.get("Flag") or fields.get("flag", "")
    if flag and flag not in DEVICE_FLAGS and flag not in _FLAGS_2005:
        warnings.append(f"unknown_flag:{code}-Flag={flag}")
    return flag


def _all_nan(*numbers: float) -> bool:
    return all(math.isnan(number) for number in numbers)


def _ordered(low: float, mean: float, high: float) -> bool:
    """Min ≤ Avg ≤ Max as far as they were sent; devices round them apart in the last digit, which is no fault."""
    return not (low > mean or mean > high or low > high) or _ordered_but_for_rounding(low, mean, high)


def _ordered_but_for_rounding(low: float, mean: float, high: float) -> bool:
    pairs = ((low, mean), (mean, high), (low, high))
    return all(not a > b or math.isclose(a, b, rel_tol=1e-6) for a, b in pairs)


# ── standard-sample checks ────────────────────────────────────────────────────────────────────────────────────────


class Check(NamedTuple):
    """One automatic standard-sample check (or verification after calibration) of an instrument.

    `nominal`: nominal value of the standard solution or gas (StandardValue), `measured`: what the instrument showed for
    it (SampleRd), both as sent, NaN where not sent. `passed`: ResultType 1 or 0, None for anything else. `completed`:
    CompleteTime, UTC epoch seconds, None where not readable. `sample_type`: SampleType as sent; its code list is not
    known to us. Whether the deviation is allowed is not judged here.
    """

    factor: str
    nominal: float
    measured: float
    passed: bool | None
    completed: int | None
    sample_type: str
    sent: str


class Checked(NamedTuple):
    """What a frame with CN 2062 brought; `ts` as in Upload. `items` is empty where there is no check, or no time."""

    mn: str
    ts: int | None
    items: list[Check]
    warnings: list[str]


CHECK_CN = "2062"
_CHECKED = ("StandardValue", "SampleRd", "ResultType")


def checks(frame: Frame) -> Checked:
    """The standard-sample checks of one frame (HJ 212-2025, CN 2062; fields as one program quotes them, trust 1).

    A request (3024 starts a check, 2062 asks for the results) brings none. SampleType and CompleteTime may stand with
    the factor or in the data area for all.
    """
    mn = frame.mn or ""
    if not frame.ok:
        return Checked(mn, None, [], [f"broken:{frame.error}"])
    if frame.cn != CHECK_CN or not frame.factors:
        return Checked(mn, None, [], [])
    ts = parse_time(frame.datatime)
    if ts is None:
        return Checked(mn, None, [], [f"bad_time:{frame.datatime}"])
    warnings: list[str] = []
    shared = {name: value for name, value in frame.cp.items() if isinstance(value, str)}
    items = [_check(code, shared | fields, warnings) for code, fields in frame.factors.items()]
    return Checked(mn, ts, [item for item in items if item], warnings)


def _check(code: str, fields: Mapping[str, str], warnings: list[str]) -> Check | None:
    if not any(name in fields for name in _CHECKED):
        warnings.append(f"nothing_measured:{code}")
        return None
    nominal, measured = (_number(code, fields, name, warnings) for name in _CHECKED[:2])
    result, completed = fields.get("ResultType"), parse_time(fields.get("CompleteTime"))
    if result not in ("0", "1"):
        warnings.append(f"bad_number:{code}-ResultType={result}" if result else f"empty:{code}-ResultType")
    if completed is None and fields.get("CompleteTime"):
        warnings.append(f"bad_time:{code}-CompleteTime={fields['CompleteTime']}")
    if factors.find(code) is None:
        warnings.append(f"unknown_factor:{code}")
    passed = {"1": True, "0": False}.get(result or "")
    sample_type = fields.get("SampleType", "")
    return Check(factors.current_code(code), nominal, measured, passed, completed, sample_type, code)
