"""The map page: one address for list and map; light, quick, within rights."""

from __future__ import annotations

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ceguan.registry.models import MapFeature, Point


def objects(answer) -> dict:
    found = re.search(r'<script id="objects" type="application/json">(.*?)</script>', answer.content.decode(), re.S)
    return json.loads(found[1])


def test_list_and_map_show_the_same_points(signed_in, ledger):
    answer = signed_in("duty").get("/map/")
    text = answer.content.decode()
    assert objects(answer)["code"] == re.findall(r'data-code="([^"]+)"', text)
    assert len(objects(answer)["code"]) == Point.objects.count()


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("kind=air", ["air"]),
        ("region=990102", ["west_outlet"]),
        ("verdict=over", ["gas_outlet"]),
        ("verdict=aqi-2", ["air"]),
        ("q=热电", ["west_outlet"]),
        ("kind=air&verdict=over", []),
        ("kind=nonsense&q=noise", ["noise"]),
        ("bbox=0,0,1,1", []),
    ],
)
def test_the_address_narrows_what_is_shown(signed_in, ledger, query, codes):
    assert objects(signed_in("duty").get(f"/map/?{query}"))["code"] == codes


def test_a_fragment_carries_the_results_only_and_the_clean_address(signed_in, ledger):
    answer = signed_in("duty").get("/map/?kind=air&region=&status=&q=", headers={"HX-Request": "true"})
    assert b"<html" not in answer.content
    assert answer["HX-Push-Url"] == "/map/?kind=air"
    assert "HX-Request" in answer["Vary"]


def test_a_shared_address_opens_the_card_of_its_point(signed_in, ledger):
    text = signed_in("duty").get("/map/?at=gas_outlet").content.decode()
    assert "超标：190 / 50 mg/m³" in text
    assert 'href="/points/gas_outlet/"' in text


def test_the_colour_of_a_point_is_that_of_the_newest_verdict_in_force(signed_in, ledger):
    found = objects(signed_in("duty").get("/map/"))
    icon = dict(zip(found["code"], (found["icons"][i] for i in found["icon"]), strict=True))
    assert icon["gas_outlet"].startswith("gas_outlet|#c0392b|")
    assert icon["air"] == "air|#FFFF00|#000000|2|planned"
    assert icon["water"].split("|")[3] == "–"


def test_the_page_asks_the_database_a_fixed_number_of_questions(signed_in, city, ledger):
    client = signed_in("duty")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/map/")
    for number in range(40):
        Point.objects.create(code=f"n{number}", name_zh="新站", kind="air", region=city.east, lon=104, lat=35)
    with CaptureQueriesContext(connection) as many:
        client.get("/map/")
    assert len(many) == len(few) <= 12


def test_the_base_map_holds_districts_and_rivers(signed_in, city):
    city.east.geometry = {"type": "Polygon", "coordinates": [[[104, 35], [104.1, 35], [104.1, 35.1], [104, 35]]]}
    city.east.save()
    MapFeature.objects.create(
        kind="river", name_zh="澜江", geometry={"type": "LineString", "coordinates": [[104, 35], [104.1, 35.1]]}
    )
    base = signed_in("duty").get("/map/base.json").json()
    assert base["regions"]["features"][0]["properties"]["name"] == "东区"
    assert base["features"]["features"][0]["properties"]["kind"] == "river"
