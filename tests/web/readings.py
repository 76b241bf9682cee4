"""A small ledger for the pages: three hours of one outlet and one air station, with a verdict that was recomputed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ceguan.registry.models import Series
from ceguan.store import ArchiveWriter, Decision, Flag, Gap, QualityRun, RecordKind, Store, Verdict
from ceguan.words import Kind, Outcome

NAN = float("nan")


def write(folder: Path, city: SimpleNamespace, now: float) -> SimpleNamespace:
    """Hours before `now`: outlet 20, 30, 180 (sent again as 190), air AQI 61, 80, 96; returns ids and times."""
    hour = int(now) // 3600 * 3600 - 3600
    outlet, air = city.points["gas_outlet"], city.points["air"]
    so2 = Series.objects.get(point=outlet, factor="a21026")
    with ArchiveWriter(folder / "archive", 0) as archive:
        frame = archive.append(RecordKind.FRAME, now, "10.0.0.7:5000", b"##0000CP=&&&&0000\r\n").packed
        archive.sync()
    with Store(folder, write=True) as store, store.ledger.batch() as batch:
        values = {hour - 7200: 20.0, hour - 3600: 30.0, hour: 180.0}
        batch.add_readings([_row(so2.id, ts, value, now, frame) for ts, value in values.items()])
        batch.add_readings([_row(so2.id, hour, 190.0, now + 60, frame)])
        run = QualityRun(so2.id, int(Kind.HOUR), hour - 7200, hour + 3600, "spike", "1", {"factor": 8}, now)
        batch.add_flags([(run, [Flag(hour, 1, Outcome.SUSPECT, {"jump": 160})])])
        batch.put_gaps(int(Kind.HOUR), hour - 90000, hour, {so2.id: [Gap(hour - 86400, hour - 82800, "packet")]}, now)
        batch.add_decision(
            Decision(so2.id, int(Kind.HOUR), hour - 7200, hour - 3600, "invalidate", "analyst", now, "校准", frame)
        )
        first = batch.add_verdicts([_limit(outlet.id, so2.id, hour, 180.0, 0, now)])[0].id
        second = batch.add_verdicts([_limit(outlet.id, so2.id, hour, 190.0, 1, now + 60)])[0].id
        levels = ((hour - 7200, 61, 2, "良"), (hour - 3600, 80, 2, "良"), (hour, 96, 2, "良"))
        batch.add_verdicts([_aqi(air.id, *level, now) for level in levels])
    return SimpleNamespace(hour=hour, so2=so2, first=first, second=second, frame=frame)


def _row(series: int, ts: int, value: float, recv: float, frame: int) -> tuple:
    return (series, int(Kind.HOUR), ts, 0, value, value * 1.1, NAN, NAN, NAN, "N", int(recv), frame)


def _limit(point: int, series: int, ts: int, value: float, ver: int, now: float) -> Verdict:
    detail = {"zh": f"超标：{value:g} / 50 mg/m³", "en": f"over: {value:g} / 50 mg/m³", "limit": 50, "unit": "mg/m³",
              "name": "二氧化硫", "multiple": value / 50 - 1}  # fmt: skip
    inputs = [[series, int(Kind.HOUR), ts, ver]]
    return Verdict(
        point, "limit-hour:a21026", ts, "over", value, "", "GB 13271-2014", "GB 13271-2014 表3", detail, inputs, now
    )


def _aqi(point: int, ts: int, aqi: int, level: int, name: str, now: float) -> Verdict:
    values = {"pm25_1h": 40.0, "pm10_1h": 70.0, "o3_1h": 56.0, "no2_1h": 25.0, "so2_1h": 12.0, "co_1h": 0.6}
    detail = {"zh": f"AQI {aqi} {name}", "en": f"AQI {aqi}", "primary": ["PM10"], "values": values, "level": level}
    return Verdict(point, "aqi-hour", ts, "given", aqi, name, "HJ 633-2026", "HJ 633-2026 表3", detail, [], now)
