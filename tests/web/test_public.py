"""The public page and its JSON: numbers with level, colour, primary, unit and hour; no number without a reason."""

from __future__ import annotations

import time
from pathlib import Path

import ceguan.web
from ceguan.registry.models import Point
from ceguan.standards.tables import AqiClass, rows
from ceguan.store import Store, Verdict


def test_the_public_page_needs_no_sign_in_and_says_it_is_not_reviewed(client, ledger):
    text = client.get("/").content.decode()
    assert "实时数据，未经审核" in text
    assert "良（2 级，黄色）" in text
    assert "PM10" in text
    assert "μg/m³" in text
    assert "分钟前的数据" in text


def test_who_is_signed_in_starts_at_work_and_still_finds_the_public_page(signed_in, ledger):
    client = signed_in("duty")
    assert client.get("/")["Location"] == "/work/"
    assert "实时空气质量" in client.get("/public/").content.decode()


def test_a_station_without_data_is_na_with_the_reason(client, city, ledger):
    Point.objects.create(code="A2", name_zh="新站", kind="air", region=city.east, lon=104.2, lat=35.1, public=True)
    text = client.get("/?station=A2").content.decode()
    assert ">NA<" in text
    assert "没有收到这一小时的数据" in text
    assert "NA：仪器校准" in text


def test_a_station_that_is_not_public_is_not_shown(client, city, ledger):
    Point.objects.filter(code="air").update(public=False)
    assert "暂时没有可以发布的数据" in client.get("/").content.decode()


def test_the_public_json_carries_24_hours_and_labels_them_by_their_end(client, ledger):
    found = client.get("/api/public/aqi").json()
    station = found["stations"][0]
    assert len(station["hours"]) == 24
    assert station["aqi"] == 96
    assert station["hours"][-1]["hour_end"] == found["hour_end"]
    assert found["hour_end"].endswith("+08:00")
    assert station["hours"][0]["aqi"] is None
    assert station["hours"][0]["reason"]


def test_who_is_sensitive_to_a_pollutant_above_100_is_told(client, city, data, ledger):
    assert " 敏感人群 · " not in client.get("/").content.decode()
    values = {"pm25_1h": 90.0, "pm10_1h": 100.0, "o3_1h": 56.0, "no2_1h": 25.0, "so2_1h": 12.0, "co_1h": 0.6}
    detail = {"zh": "AQI 128", "en": "AQI 128", "primary": ["PM2.5"], "values": values, "level": 3}
    station = city.points["air"].id
    verdict = Verdict(station, "aqi-hour", ledger.hour, "given", 128, "轻度污染", "HJ 633-2026", "HJ 633-2026 表3",
                      detail, [], time.time())  # fmt: skip
    with Store(data, write=True) as store, store.ledger.batch() as batch:
        batch.add_verdicts([verdict])
    text = client.get("/").content.decode()
    assert "PM2.5 敏感人群 · " in text
    assert "户外活动频繁的人" in text
    told = client.get("/api/public/aqi").json()["stations"][0]["sensitive"]
    assert [one["pollutant"] for one in told] == ["PM2.5"]


def test_the_colours_of_the_badges_are_those_of_the_standard():
    css = (Path(ceguan.web.__file__).parent / "static" / "app.css").read_text()
    for row in rows(AqiClass):
        assert f".badge-aqi-{row.level} {{ background: {row.rgb};" in css
        assert f".dot-{row.level} {{ fill: {row.rgb};" in css
