"""Why a result is not a number (or is one under a special rule): codes for columns, sentences for people."""

from __future__ import annotations

from enum import IntEnum, unique

from ceguan.words import Label


@unique
class Reason(IntEnum):
    NONE = 0
    NO_DATA = 1
    INCOMPLETE = 2
    PLATFORM_QUIRK = 3
    NO_1H_INDEX = 4
    NO_EDITION = 5
    REQUIRED_MISSING = 6
    WATERBODY_UNDECIDED = 7
    DEVICE_FLAG = 8
    TOO_FEW_MINUTES = 9
    TOO_FEW_HOURS = 10
    NO_CONVERTED = 11
    NO_LIMIT = 12
    FROM_MINUTES = 13
    CONVERTED_BY_US = 14
    NOT_FLOW_WEIGHTED = 15
    INDEX_INCOMPLETE = 16
    INDEX_SUM = 17
    PERIOD_SHORT = 18
    PERIOD_MEETS = 19
    PERIOD_EXCEEDS = 20
    EVENT_EXCLUDED = 21
    NOT_A_YEAR = 22
    NO_DAYS = 23
    CLOSURE = 24
    CLOSURE_OPEN = 25
    OFP = 26
    OFP_WITHOUT = 27
    IAQI_ACCOUNT = 28
    SENSITIVE = 29
    NO_VALUE = 30
    WITHOUT = 31
    STATE_MARKED = 32


SENTENCES = {
    Reason.NONE: Label("", ""),
    Reason.NO_DATA: Label("各项均缺测", "no pollutant has a value"),
    Reason.INCOMPLETE: Label(
        "缺{items}，其余项目的AQI不大于{above}，按{cite}不发布",
        "{items} missing and the AQI of the rest is not above {above}: not published ({cite})",
    ),
    Reason.PLATFORM_QUIRK: Label(
        "缺{items}，按{cite}不应发布；此处照国家平台做法发布",
        "{items} missing: not to be published under {cite}, published as the national platform does",
    ),
    Reason.NO_1H_INDEX: Label(
        "{items}的{given}浓度高于分指数表上限{top} {unit}，应按{instead}浓度报告（{cite}）；"
        "未提供{instead}浓度，未计入AQI",
        "{items}: the {given} value is above the table ({top} {unit}), the {instead} value counts instead ({cite}); "
        "it is not given and left out of the AQI",
    ),
    Reason.NO_EDITION: Label("该时刻没有可用的标准版本", "no edition of the standard is in force at this hour"),
    Reason.REQUIRED_MISSING: Label("缺{items}，不评价", "{items} missing: not evaluated"),
    Reason.WATERBODY_UNDECIDED: Label(
        "水体类型未定：按河流{river}、按湖库{lake}，结论不同",
        "water body undecided: {river} as river, {lake} as lake",
    ),
    Reason.DEVICE_FLAG: Label("设备标记为{flag}，该时段不参与判定", "device flag {flag}: excluded"),
    Reason.TOO_FEW_MINUTES: Label("有效分钟数{count}，少于{minimum}", "{count} valid minutes, fewer than {minimum}"),
    Reason.TOO_FEW_HOURS: Label("有效小时数{count}，少于{minimum}", "{count} valid hours, fewer than {minimum}"),
    Reason.NO_CONVERTED: Label(
        "限值针对折算浓度，设备未送折算值且无氧含量可换算",
        "the limit is for the converted value; the device sent none and there is no oxygen reading",
    ),
    Reason.NO_LIMIT: Label("该日期没有许可限值", "no permit limit on this date"),
    Reason.FROM_MINUTES: Label("小时值由{count}分钟有效分钟数据重新计算", "hour recomputed from {count} valid minutes"),
    Reason.CONVERTED_BY_US: Label("折算浓度由平台按基准氧含量计算", "converted to reference oxygen by the platform"),
    Reason.NOT_FLOW_WEIGHTED: Label("无流量数据，日均值为算术平均", "no flow: arithmetic daily mean"),
    Reason.INDEX_INCOMPLETE: Label("缺{items}，不计算综合指数", "{items} missing: no composite index"),
    Reason.INDEX_SUM: Label(
        "{sum} = {total}；单项指数最大：{main}（{cite}）", "{sum} = {total}; largest single index: {main} ({cite})"
    ),
    Reason.PERIOD_SHORT: Label(
        "{item}有效日共{days}个，{when}少于{minimum}个，不评价（{cite}）",
        "{item}: {days} valid days, {when} has fewer than {minimum}: not evaluated ({cite})",
    ),
    Reason.NO_DAYS: Label("{item}：没有有效日", "{item}: no valid day"),
    Reason.NOT_A_YEAR: Label(
        "{item}：限值{limit} {unit}针对整个日历年（{cite}），本时段只作统计",
        "{item}: the limit {limit} {unit} is for a calendar year ({cite}); this period has statistics only",
    ),
    Reason.PERIOD_MEETS: Label(
        "{item} {value} {unit}，不大于二级限值{limit}（{cite}），达标",
        "{item} {value} {unit} is within the class-2 limit {limit} ({cite})",
    ),
    Reason.PERIOD_EXCEEDS: Label(
        "{item} {value} {unit}，大于二级限值{limit}（{cite}），超标{multiple}倍",
        "{item} {value} {unit} is above the class-2 limit {limit} ({cite}) by a multiple of {multiple}",
    ),
    Reason.EVENT_EXCLUDED: Label(
        "已按{event}剔除{hours}小时{items}（{cite}，可信度{trust}）",
        "{hours} hours of {items} left out for {event} ({cite}, trust {trust})",
    ),
    Reason.CLOSURE: Label(
        "{sum} = {mass} µg/m³，为实测PM2.5的{ratio}（{cite}）",
        "{sum} = {mass} µg/m³, {ratio} of the measured PM2.5 ({cite})",
    ),
    Reason.CLOSURE_OPEN: Label("缺{items}，不作质量闭合", "{items} missing: no mass closure"),
    Reason.OFP: Label(
        "{count}个物种合计{total} µg O3/m³，贡献最大：{top}", "{count} species, {total} µg O3/m³ in all; largest: {top}"
    ),
    Reason.OFP_WITHOUT: Label("无MIR系数、未计入：{items}", "no MIR coefficient, left out: {items}"),
    Reason.IAQI_ACCOUNT: Label("AQI {aqi} {level_zh}：{parts}（{cite}）", "AQI {aqi} {level_en}: {parts} ({cite})"),
    Reason.WITHOUT: Label("缺{items}，以其余项目计算（{cite}）", "{items} missing: AQI of the rest ({cite})"),
    Reason.SENSITIVE: Label("{item}敏感人群：{zh}", "sensitive to {item}: {en}"),
    Reason.NO_VALUE: Label("没有数值", "no value"),
    Reason.STATE_MARKED: Label(
        "工况标记为{flag}，该时段在线数据不作为达标判定依据（时长、颗粒物另有限制）",
        "marked {flag}: online data of this time are not used for the limits (its hours and particulate are capped)",
    ),
}


def say(reason: int, **facts: object) -> Label:
    """The sentence of a reason in Chinese and English; `facts` fill its gaps (an absent fact stays out, as "?")."""
    gaps = _Gaps(facts)
    zh, en = SENTENCES[Reason(reason)]
    return Label(zh.format_map(gaps), en.format_map(gaps).translate(ENGLISH_MARKS))


ENGLISH_MARKS = str.maketrans({"、": ", ", "；": "; "})  # what a fact that is a list was joined with


class _Gaps(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"
