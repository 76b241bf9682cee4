"""Reader of the packaged tables: rows as frozen dataclasses, chosen by date.

The first six columns of every table are the same (`Row`); `valid_from` and `valid_to` are inclusive Beijing dates,
an empty `valid_to` means still in force. A cell that cannot be read raises `TableError` naming table and line.
"""

from __future__ import annotations

import csv
import io
import types
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, ClassVar, TypeVar, Union, cast, get_args, get_origin, get_type_hints

TRUST = ("P", "2", "1", "unsure", "local")
"""P read in the text · 2 two sources · 1 one source · unsure memory or unverified · local a bureau's own setting."""


class TableError(ValueError):
    """A packaged table is broken; the message names table and line."""


class NotInForce(LookupError):
    """No row (or more than one) is in force on the day asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row of every table says about itself."""

    table_file: ClassVar[str]

    standard: str
    clause: str
    valid_from: date
    valid_to: date | None
    trust: str
    source: str
    where: str  # table and line, e.g. "air_iaqi.csv:7"

    def in_force(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    @property
    def cite(self) -> str:
        """Standard and clause, e.g. "HJ 633-2026 表3"."""
        return f"{self.standard} {self.clause}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AirLimit(Row):
    """GB 3095 concentration limit. `phase`: "" (2012), transition, final, reference (annex A)."""

    table_file: ClassVar[str] = "air_limits.csv"
    phase: str
    pollutant: str
    averaging: str  # 1h, 8h (daily maximum), 24h, quarter, year
    unit: str
    class1: float
    class2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IaqiRow(Row):
    """Concentrations at IAQI 0, 50, 100, 150, 200, 300, 400, 500 (None: the standard gives none).

    `above` says what holds over the last concentration given: "500" (IAQI 500), "cap" (the last IAQI given),
    "use_24h" or "use_1h" (no IAQI of this averaging time; the other one is reported).
    """

    table_file: ClassVar[str] = "air_iaqi.csv"
    pollutant: str
    averaging: str  # 1h, 8h, 24h
    unit: str
    c0: float
    c50: float
    c100: float
    c150: float
    c200: float
    c300: float | None
    c400: float | None
    c500: float | None
    above: str

    @property
    def breakpoints(self) -> tuple[tuple[int, float], ...]:
        """(IAQI, concentration) pairs, rising."""
        pairs = ((i, getattr(self, f"c{i}")) for i in (0, 50, 100, 150, 200, 300, 400, 500))
        return tuple((i, c) for i, c in pairs if c is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AqiClass(Row):
    """One class of the AQI with its colour and words; the words have their own trust (`text_trust`)."""

    table_file: ClassVar[str] = "aqi_classes.csv"
    lo: int
    hi: int
    level: int
    zh: str
    en: str
    colour_zh: str
    colour_en: str
    rgb: str
    effect_zh: str
    advice_zh: str
    advice_en: str
    text_trust: str
    text_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AqiCompleteness(Row):
    """When an AQI may be published although a pollutant is missing.

    `publish_above`: with a pollutant missing, only an AQI above this is published (None: always).
    `quirk_optional`: pollutants whose absence does not stop the national platform, against the clause.
    """

    table_file: ClassVar[str] = "aqi_completeness.csv"
    publish_above: int | None
    quirk_optional: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitiveGroup(Row):
    """Who should take care when the IAQI of a pollutant is above `above`."""

    table_file: ClassVar[str] = "air_sensitive.csv"
    pollutant: str
    above: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AirStatistic(Row):
    """A statistic of a period that HJ 663 compares with a limit of GB 3095.

    `statistic`: mean or percentile (the `p`-th of the daily values). `averaging`: the limit it is compared with.
    """

    table_file: ClassVar[str] = "air_statistics.csv"
    pollutant: str
    statistic: str
    p: int | None
    averaging: str  # year, 24h, 8h
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AirRounding(Row):
    """Decimals that a result is rounded to, half to even (GB/T 8170). `quantity`: concentration, multiple, rate."""

    table_file: ClassVar[str] = "air_rounding.csv"
    quantity: str
    pollutant: str
    unit: str
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AirIndexTerm(Row):
    """One term of the composite index: statistic / limit (class 2, `averaging`), rounded to `digits`, × weight."""

    table_file: ClassVar[str] = "air_index.csv"
    pollutant: str
    statistic: str
    p: int | None
    averaging: str
    weight: int
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AirRanking(Row):
    """How cities are ranked. `ties`: competition (1, 2, 2, 4) or dense (1, 2, 2, 3). `left_out`: who takes no part in
    the ranking of those that became worse."""

    table_file: ClassVar[str] = "air_ranking.csv"
    kind: str  # index, change
    key: str
    ascending: str
    ties: str
    digits: int
    left_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AirEvent(Row):
    """An event whose hours are taken out for some uses. `treatment`: hours (the marked hours count as missing)."""

    table_file: ClassVar[str] = "air_events.csv"
    kind: str
    zh: str
    en: str
    pollutants: str  # joined by blanks; empty: named when the event is marked
    uses: str
    treatment: str
    decided_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AirState(Row):
    """Temperature [K] and pressure [hPa] that a concentration is stated at; None: as they were when measured."""

    table_file: ClassVar[str] = "air_state.csv"
    phase: str  # gas, particle
    pollutants: str
    kelvin: float | None
    hectopascal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactivity(Row):
    """Maximum incremental reactivity of a VOC species [g O3 per g VOC]; None where no value could be cited.

    `code`: HJ 212 factor code, "" where the factor table has none under this name.
    """

    table_file: ClassVar[str] = "voc_mir.csv"
    code: str
    zh: str
    en: str
    unit: str
    mir: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureTerm(Row):
    """A component of PM2.5 is the sum of its terms: `factor` × the measured species `term` [µg/m³].

    A term with `instead_of` stands in only where that other species was not measured.
    """

    table_file: ClassVar[str] = "pm_closure.csv"
    method: str
    component: str
    zh: str
    en: str
    unit: str
    term: str
    factor: float
    instead_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterLimit(Row):
    """GB 3838 item. `kind`: max, min (dissolved oxygen), range (pH: lo–hi holds for every class).

    Table 1 fills I…V; tables 2 and 3 (drinking-water sources) have one limit in `hi`.
    `waterbody`: river, lake, or "" for both.
    """

    table_file: ClassVar[str] = "surface_water.csv"
    table: int
    item: str
    name: str
    note: str
    waterbody: str
    unit: str
    kind: str
    lo: float | None
    hi: float | None
    I: float | None  # noqa: E741 – the class is called so
    II: float | None
    III: float | None
    IV: float | None
    V: float | None

    @property
    def classes(self) -> tuple[float, ...]:
        """The limits of class I … V (empty for a row with one limit)."""
        return tuple(v for v in (self.I, self.II, self.III, self.IV, self.V) if v is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterRule(Row):
    """A step or number of the evaluation of surface water that is no limit: what is averaged, ranked, named first.

    `item`: the item of `WaterLimit` it is about ("" for all). `value` None: the row only says that the rule holds.
    """

    table_file: ClassVar[str] = "water_rules.csv"
    rule: str
    item: str
    value: float | None
    unit: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterGrade(Row):
    """水质状况: words and colour of a section (by its class) or of a river or basin (by the shares of its sections).

    Shares in %: `good_from` ≤ share of classes I–III < `good_below`, `worse_from` ≤ share worse than V < `worse_below`.
    """

    table_file: ClassVar[str] = "water_grades.csv"
    scope: str  # section, basin
    grade: int  # 1 best … 5
    zh: str
    en: str
    colour_zh: str
    colour_en: str
    class_from: int | None
    class_to: int | None
    good_from: float | None
    good_below: float | None
    worse_from: float | None
    worse_below: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrophicItem(Row):
    """One of the five items of the trophic level index: TLI = 10·(a + b·ln C), with its weight and correlation `r`."""

    table_file: ClassVar[str] = "lake_tli.csv"
    item: str
    name: str
    unit: str
    a: float
    b: float
    weight: float
    r: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrophicClass(Row):
    """营养状态 up to a TLI of `below`; `closed` 1: the bound itself belongs to this class."""

    table_file: ClassVar[str] = "lake_trophic.csv"
    grade: int
    zh: str
    en: str
    below: float | None
    closed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpearmanCritical(Row):
    """Critical rank correlation Wp of `n` periods, one-sided 0.05 and 0.01 (None: cannot be reached)."""

    table_file: ClassVar[str] = "spearman.csv"
    n: int
    wp05: float
    wp01: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLimit(Row):
    """A limit for classes I … IV; what meets none is the last class. The rows of an item hold together (pH has two).

    `kind`: max (value ≤ limit), min (≥) or above (>). An infinite limit: the class asks nothing of this item.
    """

    table: int
    item: str
    name: str
    note: str
    unit: str
    kind: str
    I: float  # noqa: E741 – the class is called so
    II: float
    III: float
    IV: float

    @property
    def classes(self) -> tuple[float, ...]:
        return self.I, self.II, self.III, self.IV


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundwaterLimit(ClassLimit):
    """GB/T 14848 item; class V is what is worse than IV. A limit of 0 with unit mg/L: not to be detected."""

    table_file: ClassVar[str] = "groundwater.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeawaterLimit(ClassLimit):
    """GB 3097 item with a number (floating matter, colour and smell are words there and not in the table)."""

    table_file: ClassVar[str] = "seawater.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgriculturalSoil(Row):
    """GB 15618 value by pH: ≤ 5.5, ≤ 6.5, ≤ 7.5, above. `kind`: screening, control.

    `land`: paddy, orchard, other (all the rest), or "" for every use.
    """

    table_file: ClassVar[str] = "soil_agricultural.csv"
    kind: str
    item: str
    name: str
    land: str
    note: str
    unit: str
    ph55: float
    ph65: float
    ph75: float
    ph_above: float

    @property
    def bands(self) -> tuple[float, ...]:
        return self.ph55, self.ph65, self.ph75, self.ph_above


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstructionSoil(Row):
    """GB 36600 screening and control values of land class 1 and 2.

    `background` 1: above the screening value but not above the soil's natural background is not managed as polluted.
    """

    table_file: ClassVar[str] = "soil_construction.csv"
    table: int
    item: str
    name: str
    cas: str
    background: int
    unit: str
    screening1: float
    screening2: float
    control1: float
    control2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLimit(Row):
    table_file: ClassVar[str] = "noise_limits.csv"
    zone: str
    zone_zh: str
    unit: str
    day: float
    night: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseEmission(Row):
    """Limit at the boundary (Leq), indoors (Leq) or in an octave band indoors of GB 12348 and GB 22337.

    `kind`: boundary, indoor, octave. `room`: A (sleep), B (day use), "" at the boundary. `band` centre [Hz].
    """

    table_file: ClassVar[str] = "noise_emissions.csv"
    kind: str
    zone: str
    room: str
    band: float | None
    unit: str
    day: float
    night: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRule(Row):
    """A number of the measuring and judging of noise that is no limit of a zone; `low`–`high` where it holds."""

    table_file: ClassVar[str] = "noise_rules.csv"
    rule: str
    low: float | None
    high: float | None
    value: float | None
    unit: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseGrade(Row):
    """Grade of the mean level of a city's grid (regional) or roads (traffic), up to and with `upto` (None: above)."""

    table_file: ClassVar[str] = "noise_grades.csv"
    kind: str
    period: str  # day, night
    grade: int
    zh: str
    en: str
    unit: str
    upto: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EqiClass(Row):
    """Class of the ecological quality index: `low` ≤ EQI < `high`."""

    table_file: ClassVar[str] = "eqi_classes.csv"
    level: int
    zh: str
    en: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EqiWeight(Row):
    """Weight of a first-level index in the EQI; `inverse` 1: 100 - index counts. The levels below were not found."""

    table_file: ClassVar[str] = "eqi_weights.csv"
    item: str
    zh: str
    en: str
    weight: float
    inverse: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EqiChange(Row):
    """Words for a change of the EQI: `low` ≤ |ΔEQI| < `high`."""

    table_file: ClassVar[str] = "eqi_changes.csv"
    step: int
    low: float | None
    high: float | None
    better_zh: str
    better_en: str
    worse_zh: str
    worse_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmissionLimit(Row):
    """Limit of an emission standard. `basis`: converted (to `reference_o2` %) or measured.

    `code` "": HJ 212 has no factor of this name. `high` 0: not to be detected; infinite: only `low` is asked for.
    `averaging`: 1h, 24h, measurement (mean of the samples), single (any value), "" (the source does not say).
    """

    table_file: ClassVar[str] = "emission_limits.csv"
    medium: str  # gas, water
    category: str
    category_en: str
    code: str  # HJ 212 factor code
    name: str
    condition: str
    unit: str
    low: float | None
    high: float
    averaging: str
    basis: str
    reference_o2: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmissionRate(Row):
    """GB 16297 limit of the rate at a listed stack height [m], for areas of class 2 and 3."""

    table_file: ClassVar[str] = "emission_rates.csv"
    number: int
    item: str
    height: float
    unit: str
    class2: float
    class3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmissionRule(Row):
    """A step or number of an emission standard that is no concentration limit; `value` None: only that it holds."""

    table_file: ClassVar[str] = "emission_rules.csv"
    rule: str
    value: float | None
    unit: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution(Row):
    """What stands in for a missing hourly amount: the largest of the last `lookback` valid hours before the gap.

    Chosen by the quarter's capture rate [%] and the length of the gap [h]; `lookback` None: nothing may stand in.
    """

    table_file: ClassVar[str] = "cems_substitution.csv"
    cause: str  # out_of_control, invalid, any
    zh: str
    en: str
    capture_from: float | None
    capture_below: float | None
    hours_from: int
    hours_to: int | None
    lookback: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorCheck(Row):
    """What a monitor of a source may differ by: `low` ≤ reference < `high` [`of`] chooses the row.

    `kind`: relative (difference / reference in %) or absolute.
    """

    table_file: ClassVar[str] = "monitor_checks.csv"
    check: str
    item: str
    name: str
    low: float | None
    high: float | None
    of: str
    limit: float
    unit: str
    kind: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncineratorCap(Row):
    """What an incinerator may do in the `states` marked (parted by blanks, "" in normal running)."""

    table_file: ClassVar[str] = "incinerator_caps.csv"
    industry: str  # hazardous, medical, domestic
    quantity: str
    states: str
    cap: float
    unit: str
    period: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiationBackground(Row):
    table_file: ClassVar[str] = "radiation_background.csv"
    place: str
    place_en: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity(Row):
    """Least amount of data that makes a mean valid."""

    table_file: ClassVar[str] = "validity.csv"
    scope: str
    items: str
    averaging: str
    quantity: str
    minimum: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay(Row):
    """A day on which the weekday rule is wrong: kind "holiday" (on a weekday) or "workday" (on a weekend)."""

    table_file: ClassVar[str] = "work_calendar.csv"
    day: date
    kind: str
    festival: str
    festival_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention(Row):
    """How long data of a kind are kept at least, and what may happen after.

    A row of a law gives `months` and whom it `binds`; the platform's own row gives `after`: keep (for ever), act (may
    be deleted by a recorded act), rotate (makes room by itself), none (not kept). `scope`: self_monitoring (outlets),
    "" all.
    """

    table_file: ClassVar[str] = "retention.csv"
    kind: str
    scope: str
    name: str
    name_en: str
    months: int | None
    after: str
    binds: str
    note: str


TABLES: tuple[type[Row], ...] = (
    AirLimit,
    IaqiRow,
    AqiClass,
    AqiCompleteness,
    SensitiveGroup,
    AirStatistic,
    AirRounding,
    AirIndexTerm,
    AirRanking,
    AirEvent,
    AirState,
    Reactivity,
    ClosureTerm,
    WaterLimit,
    WaterRule,
    WaterGrade,
    TrophicItem,
    TrophicClass,
    SpearmanCritical,
    GroundwaterLimit,
    SeawaterLimit,
    AgriculturalSoil,
    ConstructionSoil,
    NoiseLimit,
    NoiseEmission,
    NoiseRule,
    NoiseGrade,
    EqiClass,
    EqiWeight,
    EqiChange,
    EmissionLimit,
    EmissionRate,
    EmissionRule,
    Substitution,
    MonitorCheck,
    IncineratorCap,
    RadiationBackground,
    Validity,
    CalendarDay,
    Retention,
)


R = TypeVar("R", bound=Row)


def _convert(text: str, wanted: Any) -> Any:
    if get_origin(wanted) in (Union, types.UnionType):
        if text == "":
            return None
        wanted = next(t for t in get_args(wanted) if t is not type(None))
    if wanted is date:
        return date.fromisoformat(text)
    return wanted(text)


def _read_row(kind: type[R], hints: dict[str, Any], cells: dict[str, str], where: str) -> R:
    values: dict[str, Any] = {"where": where}
    for name in (f.name for f in fields(kind) if f.name != "where"):
        try:
            values[name] = _convert(cells[name], hints[name])
        except (KeyError, TypeError, ValueError) as error:
            raise TableError(f"{where} 列 {name}: {cells.get(name)!r} 无法读取 (cannot be read: {error})") from error
    return kind(**values)


def parse(kind: type[R], text: str) -> tuple[R, ...]:
    """Rows of one table from CSV text; raises TableError with "table:line" on the first bad cell."""
    hints = get_type_hints(kind)
    reader = csv.DictReader(io.StringIO(text))
    return tuple(_read_row(kind, hints, cells, f"{kind.table_file}:{reader.line_num}") for cells in reader)


@cache
def _packaged(kind: type[Row]) -> tuple[Row, ...]:
    return parse(kind, resources.files(__package__).joinpath(kind.table_file).read_text("utf-8"))


def rows(kind: type[R]) -> tuple[R, ...]:
    """All rows of a packaged table, in the order of the file."""
    return cast("tuple[R, ...]", _packaged(kind))  # type: ignore[arg-type]


def in_force(kind: type[R], day: date, /, **keys: object) -> tuple[R, ...]:
    """Rows in force on a Beijing date whose columns equal `keys`, e.g. in_force(AirLimit, day, pollutant="O3")."""
    return tuple(_matching(rows(kind), day, keys))


def _matching(table: Iterable[R], day: date, keys: dict[str, object]) -> Iterable[R]:
    return (row for row in table if row.in_force(day) and all(getattr(row, k) == v for k, v in keys.items()))


def one(kind: type[R], day: date, /, **keys: object) -> R:
    """The single row in force on the day; raises NotInForce when there is none or more than one."""
    found = in_force(kind, day, **keys)
    if len(found) != 1:
        wanted = ", ".join(f"{k}={v}" for k, v in keys.items())
        many = f"有 {len(found)} 条，应为 1 条 (rows in force)" if found else "一条也没有 (no row in force)"
        raise NotInForce(f"{kind.table_file}：{day} 有效的行 {wanted} {many}")
    return found[0]
