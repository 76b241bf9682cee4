"""Every door obeys the same rights: page, fragment, API, export, search, map, count."""

from __future__ import annotations

import pytest
from django.urls import URLResolver, get_resolver

OPEN = {
    "home", "public", "help", "sign-in", "sign-out", "set_language", "favicon", "api-docs", "openapi-json", "api-root",
    "public_aqi",
}  # fmt: skip
DOORS = [
    "/points/{}/",
    "/points/{}/series.json",
    "/points/{}/export.csv",
    "/points/{}/export.xlsx",
    "/points/{}/export.parquet",
    "/export/frames.csv?points={}&from=2026-03-01&to=2026-03-02",
    "/api/export/verdicts.parquet?points={}&from=2026-03-01&to=2026-03-02",
    "/points/{}/days",
    "/points/{}/decide/",
    "/map/{}/card/",
    "/api/points/{}",
    "/api/points/{}/series?factor=a21026",
    "/api/points/{}/readings?factor=a21026&start=2026-01-01&end=2026-01-02",
    "/api/points/{}/aggregates?factor=a21026&start=2026-01-01&end=2026-01-02",
    "/export/aggregates.csv?points={}&from=2026-03-01&to=2026-03-02",
    "/api/points/{}/verdicts?start=2026-01-01&end=2026-01-02",
]


def routes(resolver=None):
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern)
        else:
            yield pattern


def test_every_page_wants_sign_in_unless_it_is_listed_as_open():
    free = {route.name for route in routes() if not getattr(route.callback, "login_required", True)}
    api = {route.name for route in routes() if getattr(route.callback, "__module__", "").startswith("ninja")}
    assert free - api <= OPEN


def test_every_operation_of_the_api_wants_sign_in_but_the_public_one(client, city):
    paths = client.get("/api/openapi.json").json()["paths"]
    for path in paths:
        address = path.format(code="air", number=1, what="gaps", form="csv")
        expected = 200 if path.startswith("/api/public/") else 401
        assert client.get(address).status_code == expected, path


@pytest.mark.parametrize("door", DOORS)
def test_a_point_of_another_region_is_not_there(signed_in, ledger, door):
    assert signed_in("west_officer").get(door.format("gas_outlet")).status_code == 404


@pytest.mark.parametrize("door", DOORS)
def test_an_enterprise_sees_its_own_outlets_and_nobody_elses(signed_in, ledger, door):
    client = signed_in("enterprise")
    assert client.get(door.format("gas_outlet")).status_code in (200, 403)  # 403: deciding is not theirs
    assert client.get(door.format("west_outlet")).status_code == 404
    assert client.get(door.format("air")).status_code == 404


def test_verdicts_and_readings_of_others_are_not_there(signed_in, ledger):
    client = signed_in("west_officer")
    assert client.get(f"/verdicts/{ledger.second}/").status_code == 404
    assert client.get(f"/readings/{ledger.so2.id}/hour/{ledger.hour}/").status_code == 404
    assert client.get(f"/api/verdicts/{ledger.second}").status_code == 404


def test_lists_counts_search_and_map_hold_only_what_one_may_see(signed_in, ledger):
    client = signed_in("west_officer")
    assert client.get("/api/points").json()["total"] == 1
    assert client.get("/api/map").json()["code"] == ["west_outlet"]
    assert 'data-code="gas_outlet"' not in client.get("/map/").content.decode()
    assert "0 条" in client.get("/search/?q=东区").content.decode()
    assert '<b id="total">1</b>' in client.get("/map/").content.decode()


def test_an_exported_reading_through_the_api_wants_the_right_to_export(signed_in, city, ledger):
    client = signed_in("duty")
    city.users["duty"].is_active = False
    city.users["duty"].save()
    assert (
        client.get("/api/points/gas_outlet/readings?factor=a21026&start=2026-01-01&end=2026-01-02").status_code == 401
    )


def test_a_visitor_sees_no_outlet_no_name_of_an_enterprise(client, city, ledger):
    text = client.get("/").content.decode() + client.get("/api/public/aqi").content.decode()
    assert "造纸厂" not in text
    assert "gas_outlet" not in text
