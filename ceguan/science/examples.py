"""一个算例: for every standard of the tables a case worked by the functions that judge, with what it says.

The pages of the standards print them, so that a page always shows what the platform really does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import NamedTuple

import numpy as np

from ceguan.science import (
    air,
    air_components,
    air_events,
    air_index,
    air_period,
    air_state,
    cems,
    comparison,
    ecology,
    emissions,
    groundwater,
    incineration,
    noise,
    noise_sources,
    radiation,
    soil,
    trend,
    water,
    water_bodies,
    water_index,
    water_sources,
)
from ceguan.standards import calendar, retention
from ceguan.standards.tables import EmissionLimit, RadiationBackground, rows
from ceguan.words import Label

YEAR = {"so2_24h": 10, "no2_24h": 20, "co_24h": 0.8, "o3_8h": 90, "pm10_24h": 40, "pm25_24h": 36}
INDEX = {"so2": 9, "no2": 27, "pm10": 46, "pm25": 31, "co_p95": 1.3, "o3_p90": 102}
AQI_DAY = {"so2_24h": 9, "no2_24h": 27, "co_24h": 2.2, "o3_8h": 90, "pm10_24h": 110, "pm25_24h": 60}
SECTION = {"codmn": 7, "nh3n": 1.2, "tp": 0.1, "do": 8, "ph": 7.2}


class Example(NamedTuple):
    given: Label
    result: Label


def example(standard: str) -> Example | None:
    """The case of a standard; None for one whose rows nothing judges by."""
    made = EXAMPLES.get(standard)
    return made() if made else _limit(standard)


def _one(values: Mapping[str, float]) -> dict[str, air.Floats]:
    return {name: np.array([value], np.float64) for name, value in values.items()}


def _said(values: Mapping[str, float], result: Label, more: Label | None = None) -> Example:
    given = ", ".join(f"{k} {v:g}" for k, v in values.items())
    zh, en = (f"；{more.zh}", f"; {more.en}") if more else ("", "")
    return Example(Label(given + zh, given + en), result)


def _limit(standard: str) -> Example | None:
    """A value a fifth above the first limit of an emission standard."""
    row = next((r for r in rows(EmissionLimit) if r.standard == standard and 0 < r.high < np.inf), None)
    if row is None:
        return None
    value = row.high * 1.2
    found = emissions.judge_values(np.array([value]), emissions.Limit.of(row))
    given = Label(
        f"{row.category}，{row.name} {value:g} {row.unit}", f"{row.category_en}, {row.name} {value:g} {row.unit}"
    )
    return Example(given, found.explain(0))


# ---- air


def _limits_of_air(law: date) -> Callable[[], Example]:
    def work() -> Example:
        day = np.arange("2025-01-01", "2026-01-01", dtype="datetime64[D]")
        days = air_period.Days(day, {name: np.full((1, len(day)), v, np.float64) for name, v in YEAR.items()})
        found = air_period.evaluate(days, date(2025, 1, 1), date(2025, 12, 31), law)
        row = next(i for i, r in enumerate(found.rows) if (r.pollutant, r.statistic) == ("PM2.5", "mean"))
        given = Label("每日 PM2.5 36 µg/m³ 的一年", "a year of days with PM2.5 36 µg/m³")
        return Example(given, found.explain(row, 0))

    return work


def _aqi(edition: str) -> Callable[[], Example]:
    def work() -> Example:
        columns = _one(AQI_DAY)
        return _said(AQI_DAY, air.account(air.daily_aqi(columns, edition), 0, columns, air.DAILY))

    return work


def _composite(law: date) -> Callable[[], Example]:
    return lambda: _said(INDEX, air_index.composite_index(_one(INDEX), law).explain(0))


def _ranking() -> Example:
    found = air_index.ranking(np.array([3.1, 3.3, 3.3, 4.0]), date(2025, 12, 31)).rank
    ranks = ", ".join(map(str, found.tolist()))
    return Example(
        Label("四个城市的综合指数 3.1、3.3、3.3、4.0", "indices of four cities: 3.1, 3.3, 3.3, 4.0"),
        Label(f"名次 {ranks}：相等的并列，其后空出", f"ranks {ranks}: equals share a rank, the next is skipped"),
    )


def _change_of_index() -> Example:
    found = air_index.ranking(np.array([3.0]), date(2025, 12, 31), np.array([4.0])).change[0]
    return Example(
        Label("综合指数由 4.0 变为 3.0", "the index goes from 4.0 to 3.0"),
        Label(f"变化 {found:g}%，负值为改善", f"change {found:g} %, negative is better"),
    )


def _dust() -> Example:
    begun = 1_767_196_800 + 3600 * np.arange(24)  # 2026-01-01 00:00 Beijing
    hours = {"pm10_1h": np.full((1, 24), 900.0), "pm25_1h": np.full((1, 24), 200.0)}
    mark = air_events.Mark("sand_dust", int(begun[2]), int(begun[5]), "×环函〔2026〕1号")
    _, done = air_events.leave_out(hours, begun, [mark])
    return Example(Label("02:00–05:00 标为沙尘天气过程", "02:00–05:00 marked as sand and dust"), done[0].explain())


def _restated() -> Example:
    found = air_state.restate(np.array([60.0]), "SO2", date(2018, 8, 31), date(2018, 9, 1))[0]
    return Example(
        Label("SO2 60 µg/m³（273.15 K）", "SO2 60 µg/m³ at 273.15 K"),
        Label(f"按 298.15 K 为 {found:.1f} µg/m³", f"{found:.1f} µg/m³ at 298.15 K"),
    )


def _ofp() -> Example:
    given = {"甲苯": 10.0, "乙烯": 2.0}
    return _said(given, air_components.ozone_formation(_one(given)).explain(0), Label("µg/m³", "µg/m³"))


def _closure(method: str) -> Callable[[], Example]:
    def work() -> Example:
        given = {"S": 3, "NO3": 8, "OC": 6, "EC": 2, "Al": 0.3, "Si": 0.6, "Ca": 0.4, "Fe": 0.3, "Ti": 0.02, "Cl": 1}
        found = air_components.mass_closure(_one(given), np.array([40.0]), method)
        return _said(given, found.explain(0), Label("PM2.5 40 µg/m³", "PM2.5 40 µg/m³"))

    return work


# ---- water and soil


WATER_DAY = date(2026, 6, 1)


def _section() -> Example:
    return _said(SECTION, water.surface_water(_one(SECTION), "river", WATER_DAY, ()).grounds(0))


def _river() -> Example:
    columns = {"codmn": np.array([1.0, 3, 8, 8, 12]), "nh3n": np.full(5, 0.1)}
    found = water_bodies.basin(columns, "river", WATER_DAY)
    given = Label("五个断面的高锰酸盐指数 1、3、8、8、12", "permanganate index of five sections: 1, 3, 8, 8, 12")
    return Example(given, found.explain())


def _trend() -> Example:
    given = Label("五年均值 1、2、3、4、5", "five yearly means 1, 2, 3, 4, 5")
    return Example(given, trend.trend(np.array([1.0, 2, 3, 4, 5]), WATER_DAY).explain())


def _fused() -> Example:
    found = water_bodies.fuse("tp", np.array([0.1]), np.array([0.15]), "river", WATER_DAY)
    return Example(
        Label("总磷 手工 0.1、自动 0.15 mg/L", "total phosphorus: manual 0.1, automatic 0.15 mg/L"),
        Label(f"采用 {found.value[0]:g} mg/L，两者都保留", f"{found.value[0]:g} mg/L counts, both stay visible"),
    )


def _cwqi() -> Example:
    found = water_index.cwqi(_one(SECTION), np.array([False]), WATER_DAY)
    return _said(SECTION, found.explain())


def _ground() -> Example:
    given = {"nh3n": 0.6, "fe": 0.2}
    return _said(given, groundwater.groundwater(_one(given), WATER_DAY).explain(0))


def _drinking() -> Example:
    given = {"nh3n": 1.2, "codmn": 3.0}
    return _said(given, water_sources.source(_one(given), "river", WATER_DAY).explain(0))


def _sea() -> Example:
    given = {"cod": 3.5}
    return _said(given, groundwater.seawater(_one(given), WATER_DAY).explain(0))


def _farm() -> Example:
    given = {"cd": 0.5, "ph": 6.8}
    found = soil.agricultural(_one({"cd": 0.5}), np.array([6.8]), "other", WATER_DAY)
    return _said(given, found.explain(0))


def _building() -> Example:
    given = {"as": 30.0}
    return _said(given, soil.construction(_one(given), 1, WATER_DAY).explain(0), Label("第一类用地", "class 1"))


# ---- noise, ecology, radiation


def _zone() -> Example:
    leq = np.concatenate([np.full(16, 60.0), np.full(8, 50.5)])[None, :]
    given = Label("2类区，昼间各小时 60、夜间各小时 50.5 dB(A)", "zone 2, 60 dB(A) every hour by day and 50.5 by night")
    return Example(given, noise.judge(leq, "2", WATER_DAY).explain(0))


def _boundary() -> Example:
    found = noise_sources.judge_source(np.array([62.0]), "2", "day", WATER_DAY, background=np.array([56.0]))
    given = Label("2类区厂界昼间测量 62、背景 56 dB(A)", "boundary in zone 2 by day: measured 62, background 56 dB(A)")
    return Example(given, found.explain(0))


def _social() -> Example:
    found = noise_sources.judge_source(np.array([51.0]), "2", "day", WATER_DAY, standard="GB 22337", near=True)
    given = Label(
        "2类区昼间，距敏感建筑物不足 1 m，室内 51 dB(A)", "zone 2 by day, less than 1 m from a home, 51 dB(A) indoors"
    )
    return Example(given, found.explain(0))


def _roads() -> Example:
    found = noise.city_level(np.array([68.0, 72.0]), "traffic", "day", WATER_DAY, np.array([100.0, 300.0]))
    given = Label("100 m 路段 68、300 m 路段 72 dB(A)", "100 m of road at 68, 300 m at 72 dB(A)")
    return Example(given, found.explain())


def _eqi() -> Example:
    given = {"pattern": 70.0, "function": 65, "diversity": 60, "stress": 20}
    return _said(given, ecology.eqi(_one(given), WATER_DAY).explain(0))


def _dose(standard: str) -> Callable[[], Example]:
    def work() -> Example:
        row = [r for r in rows(RadiationBackground) if r.standard == standard][-1]
        value = row.high + 10
        found = radiation.against_background(np.array([value]), row)
        return Example(
            Label(f"{row.place} {value:g} {row.unit}", f"{row.place_en} {value:g} {row.unit}"), found.explain(0)
        )

    return work


# ---- sources


def _substituted() -> Example:
    hourly = np.array([2.0, 3, 2, np.nan, np.nan])
    found = cems.fill(hourly, np.ones(5, np.bool_), np.full(5, cems.INVALID), WATER_DAY, 95)
    given = Label(
        "小时排放量 2、3、2 kg 后缺两小时，季度捕集率 95%",
        "2, 3, 2 kg, then two hours missing, capture of the quarter 95 %",
    )
    return Example(given, found.explain(3))


def _comparison() -> Example:
    found = comparison.wastewater("COD", np.full(3, 50.0), np.array([58.0, 66, 55]), WATER_DAY)
    given = Label(
        "三对 COD：实验室 50，仪器 58、66、55 mg/L", "three pairs of COD: laboratory 50, monitor 58, 66, 55 mg/L"
    )
    return Example(given, found.explain())


def _filled_water() -> Example:
    value, _ = cems.fill_wastewater(np.array([1.0, 2, 4, np.nan, np.nan]))
    given = Label("1、2、4 mg/L 后缺两个", "1, 2, 4 mg/L, then two missing")
    return Example(
        given, Label(f"取前两个的均值 {value[-1]:g} mg/L", f"the mean of the two before: {value[-1]:g} mg/L")
    )


def _rate() -> Example:
    given = Label("应收 20 组，收到 19 组，有效 18 组", "20 groups due, 19 received, 18 valid")
    return Example(given, cems.Transmission(20, 19, 20, 18).explain())


def _furnace(industry: str, coldest: float) -> Callable[[], Example]:
    def work() -> Example:
        temperature = np.full(288, coldest + 20)
        temperature[:6] = coldest - 1
        count, _ = incineration.low_means(temperature, np.zeros(288, np.bool_), industry, WATER_DAY)
        given = Label(
            f"一日内炉膛 5 分钟均值低于 {coldest:g} ℃ 六次", f"six 5-minute means below {coldest:g} °C in a day"
        )
        return Example(given, count.explain())

    return work


def _flow_weighted() -> Example:
    value, flow = np.full((1, 24), np.nan), np.full((1, 24), np.nan)
    value[0, :2], flow[0, :2] = (100, 20), (23, 1)
    limit = emissions.Limit(50, unit="mg/L", cite="GB 18918-2002 表1")
    given = Label(
        "两个小时 COD 100、20 mg/L，水量 23、1 m³", "two hours of COD 100 and 20 mg/L with 23 and 1 m³ of water"
    )
    return Example(given, emissions.judge_wastewater(value, limit, flow).explain(0))


def _holiday(year: int) -> Callable[[], Example]:
    def work() -> Example:
        start = date(year, 9, 30)
        end, skipped = calendar.add_working_days(start, 1)
        return Example(
            Label(f"{start} 起第 1 个工作日", f"first working day after {start}"),
            Label(f"{end}，其间跳过 {len(skipped)} 日", f"{end}, {len(skipped)} days skipped"),
        )

    return work


def _kept(kind: str, made: date, day: date, scope: str = "") -> Callable[[], Example]:
    def work() -> Example:
        found = retention.kept(kind, day, scope)
        free = found.free_from(made)
        zh = f"{free} 起可依留痕的决定删除（至少 {found.months} 个月）" if free else _forever(found.months)
        en = f"may be deleted by a recorded act from {free} on ({found.months} months at least)"
        return Example(
            Label(f"{found.name.zh}，{made} 形成", f"{found.name.en}, made on {made}"),
            Label(zh, en if free else f"the platform never deletes them ({found.months or 'no'} months asked for)"),
        )

    return work


def _forever(months: int | None) -> str:
    return f"平台从不删除（法定至少 {months} 个月）" if months else "未查到期限，平台从不删除"


EXAMPLES: Mapping[str, Callable[[], Example]] = {
    "GB 3095-2012": _limits_of_air(date(2025, 12, 31)),
    "GB 3095-2026": _limits_of_air(date(2026, 3, 1)),
    "HJ 633-2012": _aqi("HJ 633-2012"),
    "HJ 633-2026": _aqi("HJ 633-2026"),
    "HJ 663-2013": _composite(date(2025, 12, 31)),
    "HJ 663-2026": _composite(date(2026, 6, 30)),
    "环办〔2014〕64号": _ranking,
    "2017 年排名方案、2018 年规定": _change_of_index,
    "环办监测〔2016〕120号": _dust,
    "GB 3095-2012（2018修改单）": _restated,
    "Carter 2010": _ofp,
    "IMPROVE RCFM": _closure("improve"),
    "Malm 1994": _closure("malm1994"),
    "GB 3838-2002": _section,
    "环办〔2011〕22号": _river,
    "环办监测函〔2020〕82号": _fused,
    "环办监测〔2017〕51号": _cwqi,
    "GB/T 14848-2017": _ground,
    "集中式生活饮用水水源水质状况报告": _drinking,
    "GB 3097-1997": _sea,
    "GB 15618-2018": _farm,
    "GB 36600-2018": _building,
    "GB 3096-2008": _zone,
    "GB 12348-2008": _boundary,
    "GB 22337-2008": _social,
    "HJ 640-2012": _roads,
    "区域生态质量评价办法（试行）": _eqi,
    "全国环境天然放射性水平调查": _dose("全国环境天然放射性水平调查"),
    "广东省辐射环境自动监测站公报": _dose("广东省辐射环境自动监测站公报"),
    "HJ 75-2017": _substituted,
    "HJ 355-2019": _comparison,
    "HJ 356-2019": _filled_water,
    "自动监测数据有效传输率统计算法说明": _rate,
    "GB 39707-2020": _furnace("medical", 850),
    "生活垃圾焚烧发电厂自动监测数据应用管理规定": _furnace("domestic", 850),
    "HJ 212-2017": _flow_weighted,
    "国务院办公厅关于2025年部分节假日安排的通知": _holiday(2025),
    "国务院办公厅关于2026年部分节假日安排的通知": _holiday(2026),
    "排污许可管理条例": _kept("archive", date(2021, 3, 1), date(2026, 3, 1), retention.SELF),
    "生态环境监测条例": _kept("reading_minute", date(2026, 1, 1), date(2031, 1, 1), retention.SELF),
    "网络安全法": _kept("log", date(2026, 1, 1), date(2026, 7, 2)),
    "平台保存规则": _kept("decision", date(2026, 1, 1), date(2036, 1, 1)),
}
