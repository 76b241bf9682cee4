"""What stands behind a finding: the verdicts, the readings they rest on, the stretch of the chart that shows them."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.urls import reverse

from ceguan.registry.models import Series
from ceguan.watch.models import Finding
from ceguan.web import series as tracks
from ceguan.web.objects import sentence
from ceguan.web.store import store
from ceguan.words import Kind, beijing

VERDICTS = 12
READINGS = 72
"""Most rows shown; the point's page has all."""


class Evidence(NamedTuple):
    """`verdicts`: newest first, as rows of the ledger with `sentence`; `readings`: in time, with their series."""

    finding: Finding
    verdicts: list[dict[str, Any]]
    readings: list[dict[str, Any]]
    chart_url: str
    clause: str
    total: int


def evidence(finding: Finding) -> Evidence:
    door = store()
    found = (door.verdict(number) for number in reversed(finding.verdicts[-VERDICTS:]))
    verdicts = [{**row, "sentence": sentence(row["detail"])} for row in found if row is not None]
    return Evidence(
        finding=finding,
        verdicts=verdicts,
        readings=_readings([key for row in verdicts for key in row["inputs"]]),
        chart_url=_chart_url(finding),
        clause=next((row["clause"] for row in verdicts if row["clause"]), finding.detail.get("clause", "")),
        total=len(finding.verdicts),
    )


def _readings(keys: list[list[int]]) -> list[dict[str, Any]]:
    """Exactly the versions that the verdicts rest on, the newest ones."""
    wanted = sorted({tuple(key) for key in keys}, key=lambda key: key[2])[-READINGS:]
    if not wanted:
        return []
    rows = store().exact(wanted).sort_by("ts").to_pylist()
    known = Series.objects.in_bulk({row["series"] for row in rows})
    return [
        {
            **row,
            "of": known.get(row["series"]),
            "kind_word": tracks.KINDS[Kind(row["kind"])],
            "flag_word": tracks.device_flag(row["flag"]),
            "href": tracks.reading_url(row["series"], Kind(row["kind"]), row["ts"]),
        }
        for row in rows
    ]


def _chart_url(finding: Finding) -> str:
    """The chart of the factor from a little before the first occurrence to the day of the last."""
    factor = finding.rule.partition(":")[2] or finding.detail.get("factor", "")
    days = (finding.last_at - finding.first_at).days + 2
    span = next((name for name, (length, _) in tracks.SPANS.items() if length >= days), "90d")
    last_day = beijing(finding.last_at.timestamp()).date().isoformat()
    query = {"factor": factor, "kind": "hour", "span": span, "end": last_day}
    return f"{reverse('point-series', args=[finding.point.code])}?{urlencode(query)}"
