"""The invented past: real frames, in order, repeatable, and what the published script says is in them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.readings import parse_time, rows
from ceguan.registry.models import Series
from ceguan.simulate import faults, history, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.faults import Script
from ceguan.simulate.sending import CN, ST, Sender, Sent
from ceguan.simulate.stations import Station
from ceguan.store import RecordKind, Store, archive
from ceguan.words import BEIJING, Kind
from tests.simulate.town import stations as town_stations

HOUR, DAY = 3600, 86400
END = datetime(2026, 11, 24, 16, 20, tzinfo=BEIJING).timestamp()


def fault(name: str) -> faults.Fault:
    return next(one for one in faults.table() if one.name == name)


def meant(name: str) -> Station:
    """The station that a row of the script means."""
    town = town_stations()
    script = Script(town, END, [fault(name)])
    return next(one for one in town if script.windows(one, END - 90 * DAY, END + DAY))


KINDS = (Kind.HOUR, Kind.DAY, Kind.MINUTE)


def sent(station: Station, start: float, end: float, *names: str, kinds=KINDS) -> list[Sent]:
    """What one station sends in [start, end) when only these rows of the script are played."""
    script = Script([*town_stations()], END, [fault(name) for name in names])
    return Sender(Behaviour(7), script, station).arriving(start, end, kinds)


def hourly(frames: list[Sent]) -> dict[int, list]:
    """Items of the good hourly frames by the start of their hour."""
    found: dict[int, list] = {}
    for one in frames:
        upload = rows(decode(one.payload), 600)
        if upload.kind == Kind.HOUR:
            found.setdefault(upload.ts, []).append({item.factor: item for item in upload.items})
    return found


def midnight(days: int) -> int:
    return int(END + 8 * HOUR) // DAY * DAY - 8 * HOUR + days * DAY


@pytest.fixture
def town(monkeypatch) -> list[Station]:
    """The stations written down by hand, in place of a register."""
    known = town_stations()
    monkeypatch.setattr(stations, "load", lambda: known)
    return known


def test_every_frame_of_the_history_is_sound_and_stands_in_the_order_of_receipt(town, tmp_path):
    count = history.write(tmp_path, END, 4, 7, lambda share: None)
    records = list(archive.read(tmp_path / "archive", {}))
    assert len(records) == count
    received = [record.recv for record in records]
    assert received == sorted(received)
    assert received[-1] < END
    good = [decode(record.payload) for record in records if record.kind == RecordKind.FRAME]
    assert all(frame.ok and not frame.warnings for frame in good)
    doubts = {text for frame in good for text in rows(frame, 600).warnings}
    # HJ 212 has no code for the dose rate of the surroundings; a scripted spike of PM10 goes beyond N3.3
    assert doubts <= {"unknown_factor:r01001", "beyond_format:a34002"}
    bad = [decode(record.payload) for record in records if record.kind == RecordKind.BAD]
    assert {frame.error for frame in bad} == {"crc"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_values(town, tmp_path):
    def written(name: str, seed: int) -> bytes:
        (tmp_path / name).mkdir()
        history.write(tmp_path / name, END, 1, seed, lambda share: None)
        return b"".join(record.payload for record in archive.read(tmp_path / name / "archive", {}))

    assert written("a", 7) == written("b", 7) != written("c", 8)


def test_a_history_is_written_once(town, tmp_path):
    assert history.write(tmp_path, END, 1, 7, lambda share: None) > 0
    assert history.write(tmp_path, END, 1, 7, lambda share: None) == 0


def test_what_is_cut_in_stretches_is_the_same_as_in_one():
    script, begin, middle = Script(town_stations(), END), END - 40 * HOUR, END - 13 * HOUR - 7
    for station in town_stations():
        sender = Sender(Behaviour(7), script, station)
        parts = sender.arriving(begin, middle, KINDS) + sender.arriving(middle, END, KINDS)
        assert parts == sender.arriving(begin, END, KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_says_what_the_codec_would_say(kind):
    for station in (town_stations()[0], town_stations()[12], town_stations()[30]):
        for one in sent(station, END - DAY, END, kinds=(kind,))[:3]:
            frame = decode(one.payload)
            assert one.payload == encode(
                st=ST[station.kind], cn=CN[kind], mn=station.mn, pw="123456", flag=5, qn=frame.qn,
                datatime=frame.datatime, factors=frame.factors,
            )  # fmt: skip
            assert len(one.payload) <= 1024 + 12


def test_nothing_exceeds_its_permit_but_what_the_script_says():
    city, moments = Behaviour(7), np.arange(int(END) - 60 * DAY, int(END), 1800, dtype=np.int64)
    for station in town_stations():
        levels = city.levels(station, moments)
        assert all(np.isfinite(level).all() for level in levels.values())
        for item in station.items:
            assert item.strictest is None or item.low is not None or levels[item.factor].max() < item.strictest


def test_the_invented_air_has_good_days_and_a_few_bad_ones():
    city, moments = Behaviour(7), np.arange(int(END) - 90 * DAY, int(END), HOUR, dtype=np.int64)
    pm25 = city.levels(town_stations()[0], moments)["a34004"]
    assert 20 < np.median(pm25) < 60
    days = pm25.reshape(-1, 24).mean(axis=1)
    assert 2 <= (days > 75).sum() <= 25
    assert pm25.max() < 400


def test_every_row_of_the_script_says_itself_in_both_languages_and_finds_a_station():
    assert all(one.zh and one.en for one in faults.table())
    assert len({one.name for one in faults.table()}) == len(faults.table())
    assert Script(town_stations(), END).played == list(faults.table())


def test_a_scripted_hour_exceeds_in_the_converted_value():
    found = hourly(sent(meant("so2-yesterday"), midnight(-1) + 12 * HOUR, midnight(-1) + 18 * HOUR, "so2-yesterday"))
    over = [ts for ts, values in found.items() if values[0]["a21026"].zs > 35]
    assert over == [midnight(-1) + 14 * HOUR]


def test_a_scripted_day_exceeds_at_a_wastewater_outlet():
    found = sent(meant("cod-day"), midnight(-3), midnight(0), "cod-day", kinds=(Kind.DAY,))
    means = {one.ts: one.items[0].value for one in (rows(decode(sent_.payload)) for sent_ in found)}
    assert {ts: mean > 50 for ts, mean in means.items()} == {
        midnight(-4): False, midnight(-3): False, midnight(-2): True,
    }  # fmt: skip


def test_the_cheat_is_flat_at_night_just_below_its_limit():
    found = hourly(sent(meant("cheat"), END - 2 * DAY, END, "cheat"))
    items = [values[0]["a21026"] for _, values in sorted(found.items())]
    assert max(item.zs for item in items) == pytest.approx(0.92 * 35, abs=0.01)
    longest = run = 1
    for before, after in itertools.pairwise(items):
        run = run + 1 if before.value == after.value else 1
        longest = max(longest, run)
    assert longest >= 12


def test_a_silent_outlet_sends_nothing_and_comes_back():
    station, end = meant("silent-outlet"), int(END) // HOUR * HOUR
    assert sent(station, end - 6.9 * HOUR, end + HOUR, "silent-outlet") == []
    assert sent(station, end + HOUR, end + 3 * HOUR, "silent-outlet")


def test_late_data_come_once_and_late():
    station, gap = meant("late-history"), midnight(-40) + 14 * HOUR
    assert gap not in hourly(sent(station, midnight(-40), midnight(-39) + 2 * HOUR, "late-history"))
    later = hourly(sent(station, midnight(-30), midnight(0), "late-history"))
    assert len(later[gap]) == 1


def test_a_changed_hour_was_over_first_and_within_when_it_came_again():
    station, ts = meant("changed"), midnight(-30) + 11 * HOUR
    first = hourly(sent(station, ts, ts + 2 * HOUR, "changed"))[ts]
    again = hourly(sent(station, ts + 10 * DAY, ts + 16 * DAY, "changed"))[ts]
    assert (len(first), len(again)) == (1, 1)
    assert first[0]["a21026"].zs > 35 > again[0]["a21026"].zs


def test_a_resent_frame_is_the_same_but_for_its_time_of_sending():
    found = hourly(sent(meant("resend"), midnight(-3), midnight(-2), "resend"))
    twice = [values for values in found.values() if len(values) == 2]
    assert len(twice) == 12
    assert all(repr(first) == repr(second) for first, second in twice)


def test_a_fast_clock_shows_in_the_number_of_the_request_and_in_early_sending():
    one = sent(meant("clock-outlet"), END - 3 * HOUR, END, "clock-outlet", kinds=(Kind.HOUR,))[0]
    frame = decode(one.payload)
    assert one.recv < rows(frame).ts + HOUR - 600
    assert parse_time(frame.qn[:14]) - one.recv == pytest.approx(760, abs=2)


def test_a_new_logger_writes_its_crc_another_way_from_its_first_frame_on():
    found = sent(meant("modbus"), END - 12 * HOUR, END, "modbus", kinds=(Kind.HOUR,))
    assert {decode(one.payload).crc_dialect: one.recv >= END // HOUR * HOUR - 9 * HOUR for one in found} == {
        "hj212": False, "modbus": True,
    }  # fmt: skip


def test_a_device_of_2025_sends_its_data_enciphered():
    key = b"0123456789abcdef"
    station = replace(meant("line-cut"), edition="2025", key=key)
    for one in sent(station, END - 2 * HOUR, END):
        frame = decode(one.payload, key=key)
        assert (frame.ok, frame.encrypted, frame.edition) == (True, True, 2025)
        assert set(frame.factors) == {"a21026", "a21002", "a34013", "a19001", "a00000"}


def test_a_stopped_boiler_says_so_and_has_no_flow():
    found = hourly(sent(meant("stop"), midnight(-4) + 12 * HOUR, midnight(-4) + 14 * HOUR, "stop"))
    assert found
    for values in found.values():
        assert {item.flag for item in values[0].values()} == {"F"}
        assert (values[0]["a00000"].value, values[0]["a19001"].value) == (0.0, 20.9)


def test_a_disturbed_line_repeats_what_was_broken():
    found = sent(meant("crc"), midnight(-2) + 9 * HOUR, midnight(-2) + 20 * HOUR, "crc")
    frames = [(decode(one.payload), one.spoilt) for one in found]
    assert all(frame.ok != spoilt for frame, spoilt in frames)
    broken = {(frame.cn, frame.datatime) for frame, spoilt in frames if spoilt}
    assert broken
    assert broken <= {(frame.cn, frame.datatime) for frame, spoilt in frames if not spoilt}


def test_a_device_of_2005_sends_old_codes_in_the_frame_of_2005(city):
    from ceguan.registry.models import Device

    Device.objects.filter(mn="MNWATER_OUTLET").update(edition="2005")
    station = next(one for one in stations.load() if one.mn == "MNWATER_OUTLET")
    frame = decode(sent(station, END - 2 * HOUR, END, kinds=(Kind.HOUR,))[0].payload)
    assert (frame.edition, sorted(frame.factors)) == (2005, ["011", "060", "B01"])


def test_the_clockwork_takes_the_history_in_and_judges_it(city, data):
    from ceguan import settings
    from ceguan.watch.clockwork import Clockwork
    from ceguan.watch.models import Finding

    history.write(data, END, 3, 7, lambda share: None)
    with Clockwork(settings.load(data=str(data))) as clockwork:
        while not clockwork.step(END + 60).caught_up:
            pass
    so2 = Series.objects.get(point=city.points["gas_outlet"], factor="a21026")
    assert len(Store(data).readings([so2.pk], Kind.HOUR, 0, 1 << 40)) > 60
    assert Finding.objects.filter(rule="limit-hour:a21026").exists()
    assert [one["mn"] for one in Store(data).unknown_devices()] == [faults.unknown().mn]
    assert history.state(data)["seed"] == 7
