"""`ceguan recompute`: what the platform judged day by day comes out again from the readings, or it is named."""

from __future__ import annotations

import csv
import socket
import threading
from pathlib import Path

import pytest

from ceguan import cli
from ceguan.store import Decision, Store
from tests.watch.conftest import world  # noqa: F401  the small city with archive and clockwork
from tests.watch.world import DAY, HOUR, World, at, series

START = at("2026-03-29 00:00")
AIR = {"a21026": 10, "a21004": 30, "a21005": 0.5, "a05024": 80, "a34002": 60, "a34004": 20}
ASKED = ["recompute", "--from", "2026-03-29", "--to", "2026-04-01"]


@pytest.fixture
def judged(world: World) -> World:  # noqa: F811
    """Four days of an air station over the end of a month, judged by the clockwork."""
    for hour in range(4 * 24):
        values = {factor: value + hour % 7 for factor, value in AIR.items()}
        values["a34002"] = {"Avg": 99999 if hour == 30 else 50 + hour, "Flag": "D" if hour % 10 == 3 else "N"}
        world.send("MNAIR", "hour", START + hour * HOUR, values)
    world.step(START + 4 * DAY + 1800)
    world.restart()
    return world


def test_what_was_judged_comes_out_again_hot_and_sealed(judged: World, capsys: pytest.CaptureFixture[str]) -> None:
    for sealed in (False, True):
        if sealed:
            with Store(judged.folder, write=True) as store:
                store.seal("2026-03", START + 5 * DAY)
        assert cli.main(ASKED) == 0
        said = capsys.readouterr().out
        assert "1 个空气站，576 条小时读数" in said
        assert "一致 28 项，不一致 0 项，尚无裁定 0 站日" in said
        assert "质控不合格 1 条" in said
        assert ("封存文件：2026-03.g001.parquet 第 1 代" in said) == sealed
        assert "HJ 663" in said


def test_a_decision_that_was_never_judged_is_named(judged: World, capsys: pytest.CaptureFixture[str]) -> None:
    pm25 = series(judged.city.points["air"], "a34004")
    with Store(judged.folder, write=True) as store, store.ledger.batch() as batch:
        batch.add_decision(Decision(pm25, 2, START, START + DAY, "substitute", "我", START, "试", 1, value=500.0))
    assert cli.main(ASKED) == 1
    said = capsys.readouterr().out
    assert "不一致 1 项" in said
    assert "air 2026-03-29 pm25_24h：已存 23，重算 500" in said


def test_the_figures_of_stations_and_cities_are_written_by_the_law_asked_for(judged: World, tmp_path: Path) -> None:
    out = tmp_path / "figures.csv"
    assert cli.main([*ASKED, "--as-if", "2031-01-01", "-o", str(out)]) == 0
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert {(row["kind"], row["city"]) for row in rows} == {("station", "air"), ("city", "9901")}
    pm25 = {row["kind"]: row for row in rows if row["pollutant"] == "PM2.5" and row["over_days"] == ""}
    assert pm25["station"]["valid_days"] == "4"
    assert pm25["station"]["verdict"] == "不评价"


def test_a_stretch_that_ends_before_it_begins_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recompute", "--from", "2026-04-01", "--to", "2026-03-01"]) == 2
    assert "早于" in capsys.readouterr().err


@pytest.mark.parametrize("who", ["nobody", "another server", "nobody, found by itself"])
def test_a_ray_that_is_not_there_is_one_clear_line_with_address_and_setting(
    judged: World, who: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        if who == "another server":
            threading.Thread(target=lambda: other.accept()[0].sendall(b"HTTP/1.1 400 Bad Request"), daemon=True).start()
        else:
            other.close()
        monkeypatch.setenv("CEGUAN_COMPUTE", "ray")
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        if who == "nobody, found by itself":
            (tmp_path / "ray").mkdir()
            (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        else:
            monkeypatch.setenv("CEGUAN_RAY_ADDRESS", address)
        assert cli.main(ASKED) == 2
    said = capsys.readouterr().err
    assert f"Ray 集群 {address} 连不上" in said
    assert "CEGUAN_RAY_ADDRESS" in said
    assert said.count("\n") == 1
