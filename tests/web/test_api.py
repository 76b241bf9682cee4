"""The API: described truthfully, answers with units, review state and completeness, refuses in words."""

from __future__ import annotations

import time

from openapi_spec_validator import validate

from ceguan.words import beijing


def span(ledger) -> str:
    return f"start={beijing(ledger.hour - 86400):%Y-%m-%d}&end={beijing(ledger.hour + 86400):%Y-%m-%d}"


def test_the_openapi_document_is_valid_and_every_operation_says_what_it_does(client):
    document = client.get("/api/openapi.json").json()
    validate(document)
    assert all(operation["summary"] for verbs in document["paths"].values() for operation in verbs.values())


def test_the_docs_page_lists_every_operation_without_script_of_its_own(client):
    text = client.get("/api/docs").content.decode()
    for path in client.get("/api/openapi.json").json()["paths"]:
        assert path in text


def test_readings_carry_unit_state_and_completeness(signed_in, ledger):
    found = signed_in("duty").get(f"/api/points/gas_outlet/readings?factor=a21026&{span(ledger)}").json()
    assert found["unit"] == "mg/m³"
    assert 0 < found["completeness"] <= 1
    first, *_, last = found["items"]
    assert (first["value"], first["value_in_force"], first["action"], first["review_state"]) == (
        20,
        None,
        "invalidate",
        "reviewed",
    )
    assert (last["value"], last["version"], last["review_state"]) == (190, 1, "realtime")
    assert last["time"] == beijing(ledger.hour).isoformat()


def test_all_versions_are_there_and_pages_never_part_them(signed_in, ledger):
    address = f"/api/points/gas_outlet/readings?factor=a21026&versions=all&{span(ledger)}"
    client = signed_in("duty")
    assert [row["value"] for row in client.get(address).json()["items"]] == [20, 30, 180, 190]
    part = client.get(address + "&limit=3").json()
    assert [row["value"] for row in part["items"]] == [20, 30]
    assert part["next"] == beijing(ledger.hour).isoformat()


def test_readings_and_verdicts_can_be_had_as_they_were_known_at_a_moment(signed_in, ledger):
    client, then = signed_in("duty"), beijing(time.time() + 30).isoformat().replace("+", "%2B")
    address = f"/api/points/gas_outlet/readings?factor=a21026&{span(ledger)}&as_of={then}"
    found = client.get(address).json()
    assert [row["value"] for row in found["items"]] == [20, 30, 180]
    assert found["completeness"] is None
    verdicts = f"/api/points/gas_outlet/verdicts?{span(ledger)}&as_of={then}"
    assert [row["value"] for row in client.get(verdicts).json()["items"]] == [180]
    assert client.get(f"{verdicts}gestern").status_code == 422


def test_a_time_that_cannot_be_read_is_refused_with_an_example(signed_in, ledger):
    answer = signed_in("duty").get("/api/points/gas_outlet/readings?factor=a21026&start=gestern&end=2026-01-01")
    assert answer.status_code == 422
    assert "ISO 8601" in answer.json()["detail"]


def test_verdicts_name_edition_clause_and_inputs(signed_in, ledger):
    client = signed_in("duty")
    found = client.get(f"/api/points/gas_outlet/verdicts?{span(ledger)}&all_versions=true").json()
    assert [row["version"] for row in found["items"]] == [0, 1]
    one = client.get(f"/api/verdicts/{ledger.second}").json()
    assert one["clause"] == "GB 13271-2014 表3"
    assert one["inputs"][0]["version"] == 1


def test_points_findings_and_cases_answer_with_totals(signed_in, ledger):
    client = signed_in("duty")
    assert client.get("/api/points?kind=air").json()["items"][0]["grade"] == "aqi-2"
    assert client.get("/api/findings").json() == {"total": 0, "items": []}
    assert client.get("/api/cases").json() == {"total": 0, "items": []}
