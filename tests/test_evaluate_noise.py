"""`ceguan evaluate noise`, `noise-city`, `noise-source`: files in, verdicts with clause and trust out."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest


def a_day(day=60, night=50, station="一号", zone="2", month="2026-06"):
    """Hours ended 07:00 … 06:00 of one noise day."""
    lines = []
    for hour in range(7, 31):
        when = f"{month}-01 {hour:02d}:00" if hour <= 24 else f"{month}-02 {hour - 24:02d}:00"
        lines.append(f"{when},{station},{zone},{day if hour <= 22 else night},{66 if hour == 24 else ''}\n")
    return "".join(lines)


HEAD = "time,station,zone,leq,lmax\n"


def test_a_day_of_hours_is_judged_from_six_to_six_with_the_sudden_maximum(judge):
    code, rows, err = judge("noise", HEAD + a_day(60, 50.1))
    assert (code, err, len(rows)) == (0, "", 1)
    row = rows[0]
    assert (row["date"], row["ld"], row["ln"], row["ldn"]) == ("2026-06-01", "60.0", "50.1", "60.0")
    assert (row["day_verdict"], row["night_verdict"], row["sudden_verdict"]) == ("达标", "超标", "超标")
    assert (row["edition"], row["trust"]) == ("GB 3096-2008", "1"), "the weakest row used is the sudden maximum"


def test_hours_missing_are_not_judged_unless_fewer_are_asked_for(judge):
    text = HEAD + "".join(a_day().splitlines(keepends=True)[:-1])
    assert judge("noise", text)[1][0]["night_verdict"] == "未评价"
    assert judge("noise", text, "--night-hours", "7")[1][0]["night_verdict"] == "达标"


def test_rates_count_point_times_of_zone_and_quarter(judge):
    text = HEAD + a_day() + a_day(61, 50, "二号") + a_day(61, 51, month="2026-07")
    second, third = judge("noise", text, "--rate", "quarter")[1]
    assert (second["period"], second["day_judged"], second["day_met"], second["day_rate"]) == (
        "2026-Q2",
        "2",
        "1",
        "50.0",
    )
    assert (third["period"], third["night_rate"]) == ("2026-Q3", "0.0")
    year = judge("noise", text, "--rate", "year")[1]
    assert [(r["day_judged"], r["day_met"], r["night_met"]) for r in year] == [("3", "1", "2")]


def test_the_law_of_another_day_may_be_asked_for(judge):
    code, _, err = judge("noise", HEAD + a_day(), "--as-if", "2008-09-30")
    assert code == 2
    assert "--as-if" in err
    assert judge("noise", HEAD + a_day(month="2001-06"), "--edition", "2008")[1][0]["edition"] == "GB 3096-2008"


def test_grid_and_roads_are_graded_by_city_and_part_of_day(judge):
    grid = "city,leq,part\n甲,54,昼间\n甲,56,昼间\n甲,45,夜间\n乙,NA,昼间\n"
    rows = judge("noise-city", grid, "--kind", "regional")[1]
    assert [(r["city"], r["part"], r["level"], r["grade"], r["word"]) for r in rows] == [
        ("甲", "昼间", "55.0", "2", "较好"), ("甲", "夜间", "45.0", "2", "较好"), ("乙", "昼间", "NA", "NA", "NA"),
    ]  # fmt: skip
    roads = judge("noise-city", "leq,length\n68,100\n72,300\n", "--kind", "traffic")[1][0]
    assert (roads["level"], roads["word"], roads["trust"]) == ("71.0", "一般", "2")


def test_sources_are_corrected_and_judged_at_the_boundary_indoors_and_by_band(judge, tmp_path):
    text = (
        "point,zone,leq,part,background,nature,room,band,near\n"
        "a,2,62,昼间,56,,,,\nb,2,60,夜间,,频发,,,\nc,2,53,昼间,51,,,,\n"
        "d,1,46,昼间,,,B,,\ne,1,60,昼间,,,A,63,\nf,3,56,昼间,,,,,是\n"
    )
    rows = judge("noise-source", text)[1]
    assert [(r["point"], r["corrected"], r["limit"], r["verdict"]) for r in rows] == [
        ("a", "61", "60", "超标"), ("b", "60", "60", "达标"), ("c", "NA", "60", "未评价"),
        ("d", "46", "45", "超标"), ("e", "60", "59", "超标"), ("f", "56", "55", "超标"),
    ]  # fmt: skip
    assert rows[0]["reason"].startswith("超标：61（测量 62，背景 56，修正 -1） / 60 dB(A)（GB 12348-2008 表1")
    out = tmp_path / "out.parquet"
    assert judge("noise-source", text, "-o", str(out))[0] == 0
    assert pq.read_table(out)["limit"].to_pylist() == [60, 60, 60, 45, 59, 55]


@pytest.mark.parametrize(
    ("verb", "text", "options", "says"),
    [
        ("noise", "time,station,zone,leq\n2026-06-01 07:30,一,2,50\n", (), ["第 2 行", "time", "整点"]),
        ("noise", HEAD + "2026-06-01 08:00,一,2,50,\n" * 2, (), ["第 3 行", "已有一行"]),
        ("noise", HEAD + "2026-06-01 08:00,一,5,50,\n", (), ["zone=5"]),
        ("noise-city", "leq\n70\n", ("--kind", "traffic"), ["length"]),
        ("noise-city", "leq,part\n70,早\n", ("--kind", "regional"), ["第 2 行", "part"]),
        ("noise-source", "zone,leq\n9,50\n", (), ["第 2 行", "zone"]),
        ("noise-source", "zone,leq,nature\n2,50,频发\n", (), ["第 2 行", "夜间"]),
        ("noise-source", "zone,leq,near\n2,50,也许\n", (), ["第 2 行", "near"]),
    ],
)
def test_a_fault_is_one_line_that_says_where(judge, verb, text, options, says):
    code, rows, err = judge(verb, text, *options)
    assert (code, rows, err.count("\n")) == (2, [], 1)
    assert all(word in err for word in says), err
