"""From an upload to rows of readings."""

import math
from datetime import UTC, datetime

import pytest

from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.readings import checks, interval_start, parse_time, rows, write_time
from ceguan.words import Kind


def upload(cn="2061", datatime="20160801080000", factors=None, **more):
    fields = {"st": "32", "cn": cn, "mn": "1", "flag": 4, "datatime": datatime, "factors": factors}
    return rows(decode(encode(**fields | more)))


def utc(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


def test_an_hourly_upload():
    got = upload(factors={"a21026": {"Cou": "1.2", "Min": "1", "Avg": "2.5", "Max": "4", "ZsAvg": "3.5", "Flag": "N"}})
    assert (got.mn, got.kind, got.ts, got.warnings) == ("1", Kind.HOUR, utc(2016, 8, 1, 0), [])
    assert got.items == [("a21026", 2.5, 3.5, 1.0, 4.0, 1.2, "N", "a21026")]


@pytest.mark.parametrize(("cn", "kind"), [("2011", 0), ("2051", 1), ("2061", 2), ("2031", 3)])
def test_the_kind_comes_from_the_command_code(cn, kind):
    field = "Rtd" if kind == 0 else "Avg"
    got = upload(cn, "20160801000000", {"w01018": {field: "40.1"}})
    assert (got.kind, [item.value for item in got.items], got.warnings) == (kind, [40.1], [])


def test_what_was_not_sent_is_nan_and_zero_is_not_missing():
    (item,) = upload(factors={"w01018": {"Avg": "0.0"}}).items
    assert item.value == 0
    assert item.flag == ""
    assert all(math.isnan(number) for number in (item.zs, item.vmin, item.vmax, item.cou))


def test_a_total_alone_is_a_reading():
    (item,) = upload(factors={"w00000": {"Cou": "200"}}).items
    assert math.isnan(item.value)
    assert item.cou == 200


def test_old_codes_become_new_ones_and_the_sent_code_stays_known():
    got = upload(factors={"011": {"Avg": "1"}, "B01": {"Avg": "2"}, "02": {"Avg": "3"}, "101": {"Avg": "4"}})
    assert [(item.factor, item.sent) for item in got.items] == [
        ("w01018", "011"), ("w00000", "B01"), ("a21026", "02"), ("w21011", "101"),
    ]  # fmt: skip


def test_an_unknown_factor_is_kept_and_reported():
    got = upload(factors={"R01": {"Avg": "1"}})
    assert [item.factor for item in got.items] == ["R01"]
    assert got.warnings == ["unknown_factor:R01"]


@pytest.mark.parametrize("text", ["1.2.3", "nan", "inf", "1_0", "--", "N", "1e999"])
def test_a_bad_number_is_left_out_with_its_cause(text):
    got = upload(factors={"w01018": {"Avg": text, "Flag": "N"}, "w21003": {"Avg": "1"}})
    assert [item.factor for item in got.items] == ["w21003"]
    assert got.warnings == [f"bad_number:w01018-Avg={text}"]


def test_an_empty_value_is_missing_and_reported():
    got = upload(factors={"w01018": {"Avg": "", "Flag": "D"}})
    assert (got.items, got.warnings) == ([], ["empty:w01018-Avg"])


def test_a_bad_minimum_costs_only_the_minimum():
    got = upload(factors={"w01018": {"Min": "x", "Avg": "2", "Max": "3"}})
    assert (math.isnan(got.items[0].vmin), got.items[0].value) == (True, 2.0)
    assert got.warnings == ["bad_number:w01018-Min=x"]


@pytest.mark.parametrize("fields", [("3", "2", "4"), ("1", "5", "4"), ("5", "", "4")])
def test_a_mean_outside_its_extremes_is_reported_and_kept(fields):
    low, mean, high = fields
    got = upload(factors={"w01018": {"Min": low, "Max": high} | ({"Avg": mean} if mean else {})})
    assert "min_avg_max:w01018" in got.warnings
    assert len(got.items) == 1


@pytest.mark.parametrize(
    ("code", "field", "value", "beyond"),
    [
        ("w01018", "Avg", "99999.9", False), ("w01018", "Avg", "100000", True), ("w01018", "Max", "-100000", True),
        ("w01018", "ZsAvg", "100000.0", True), ("w01018", "Cou", "100000000", False), ("a01010", "Avg", "9", False),
        ("a01010", "Avg", "103.2", True), ("a05024", "Avg", "1e300", False), ("i11001", "Avg", "1e300", False),
    ],
)  # fmt: skip
def test_a_value_with_more_digits_than_the_factors_format_is_reported_and_kept(code, field, value, beyond):
    """附录B: chemical oxygen demand N5.1, Ringelmann blackness N1; no format is printed for ozone and texts."""
    got = upload(factors={code: {"Avg": "1", field: value}})
    assert (f"beyond_format:{code}" in got.warnings) is beyond
    assert len(got.items) == 1


@pytest.mark.parametrize(
    ("qn", "flag", "odd"),
    [
        ("20160801085857223", 4, False), ("20160801080000000", 4, False), ("20160801075959999", 4, True),
        ("20160801075959999", 9, True), ("20160801075959999", 0, False), ("1617951666056", 4, False), (None, 4, False),
    ],
)  # fmt: skip
def test_data_from_after_the_moment_they_were_sent_are_reported_and_kept(qn, flag, odd):
    got = upload(factors={"w01018": {"Avg": "1"}}, qn=qn, flag=flag)
    assert (got.warnings, len(got.items)) == (["time_after_qn"] * odd, 1)


def test_a_difference_in_the_last_digit_is_no_contradiction():
    assert upload(factors={"w01018": {"Min": "27.299999", "Avg": "27.300000", "Max": "27.299999"}}).warnings == []


def test_a_flag_without_a_value_is_reported():
    assert upload(factors={"w21006": {"Flag": "N"}}).warnings == ["nothing_measured:w21006"]


def test_a_mean_sent_as_a_momentary_value_is_taken_and_reported():
    got = upload(factors={"w01018": {"Rtd": "1"}})
    assert ([item.value for item in got.items], got.warnings) == ([1.0], ["unusual_field:w01018-Rtd"])


def test_a_flag_in_lower_case_is_read_and_a_flag_nobody_knows_is_reported():
    got = upload(factors={"w01018": {"Avg": "1", "flag": "D"}, "w21003": {"Avg": "1", "Flag": "U"}})
    assert [item.flag for item in got.items] == ["D", "U"]
    assert got.warnings == ["unknown_flag:w21003-Flag=U"]


def test_a_noise_statistic_is_a_value():
    assert [item.value for item in upload(factors={"Leq": {"Data": "53.0"}}).items] == [53.0]


def test_states_and_site_information_are_no_readings_and_no_fault():
    got = upload("2011", factors={"SB1": {"RS": "1"}, "i12001": {"Info": "0"}, "w01018": {"SN": "1"}})
    assert (got.items, got.warnings) == ([], [])


def test_a_broken_frame_gives_no_readings():
    raw = encode(st="32", cn="2061", mn="1", datatime="20160801080000", factors={"w01018": {"Avg": "1"}})
    got = rows(decode(raw[:-6] + b"0000\r\n"))
    assert (got.items, got.ts, got.warnings) == ([], None, ["broken:crc"])


def test_a_request_for_data_and_an_upload_of_states_hold_no_readings():
    request = encode(st="32", cn="2061", cp={"BeginTime": "20160801000000", "EndTime": "20160802000000"})
    assert rows(decode(request))[1:] == (None, None, [], [])
    assert upload("2021", factors={"SB1": {"RS": "1"}})[1:] == (None, None, [], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20160801080000", utc(2016, 8, 1, 0)),
        ("2016080108000012", utc(2016, 8, 1, 0)),
        ("20160801080000123", utc(2016, 8, 1, 0)),
        ("20160801000000", utc(2016, 7, 31, 16)),
        ("20240229120000", utc(2024, 2, 29, 4)),
        ("20230229120000", None),
        ("20160801240000", None),
        ("00000000000000", None),
        ("201608010800", None),
        ("2016-08-01 080", None),
        ("２０１６０８０１０８００００", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_beijing_wall_time(text, expected):
    assert parse_time(text) == expected


def test_times_are_written_as_they_are_read():
    assert write_time(parse_time("20160801080000")) == "20160801080000"


def test_an_unreadable_time_gives_no_readings_and_says_so():
    got = upload(datatime="20161301000000", factors={"w01018": {"Avg": "1"}})
    assert (got.items, got.ts, got.warnings) == ([], None, ["bad_time:20161301000000"])


@pytest.mark.parametrize(
    ("kind", "sent", "start"),
    [
        (Kind.RT, "20160801083017", "20160801083017"),
        (Kind.MINUTE, "20160801083017", "20160801083000"),
        (Kind.HOUR, "20160801080001", "20160801080000"),
        (Kind.DAY, "20160801000000", "20160801000000"),
        (Kind.DAY, "20160801235959", "20160801000000"),
        (Kind.DAY, "20160801070000", "20160801000000"),
    ],
)
def test_a_reading_stands_at_the_start_of_its_interval(kind, sent, start):
    assert write_time(interval_start(parse_time(sent), kind)) == start


def test_minutes_lie_on_the_devices_own_grid_when_it_is_known():
    raw = encode(st="32", cn="2051", mn="1", datatime="20160801084700", factors={"w01018": {"Avg": "1"}})
    got = rows(decode(raw), interval_default=600)
    assert (write_time(got.ts), got.warnings) == ("20160801084000", ["ts_off_grid"])


def check(factors=None, **more):
    fields = {"st": "32", "cn": "2062", "mn": "1", "flag": 9, "datatime": "20240601010000", "factors": factors}
    return checks(decode(encode(**fields | more)))


def test_a_standard_sample_check_is_no_reading_but_a_result():
    sent = {"w01018": {"SampleRd": "98.5", "StandardValue": "100.0", "ResultType": "1"}}
    got = check(sent)
    assert (got.mn, got.ts, got.warnings) == ("1", utc(2024, 5, 31, 17), [])
    assert got.items == [("w01018", 100.0, 98.5, True, None, "", "w01018")]
    assert rows(decode(encode(st="32", cn="2062", datatime="20240601010000", factors=sent))).items == []


@pytest.mark.parametrize(("sent", "passed"), [("1", True), ("0", False), ("2", None), ("", None)])
def test_whether_the_instrument_passed_is_what_it_says(sent, passed):
    got = check({"w01018": {"SampleRd": "98", "StandardValue": "100", "ResultType": sent}})
    assert got.items[0].passed is passed
    assert bool(got.warnings) is (passed is None)


def test_type_and_time_of_a_check_stand_with_the_factor_or_for_all():
    sent = {"w01018": {"SampleRd": "98", "StandardValue": "100", "ResultType": "1"}, "w21003": {"SampleType": "2"}}
    sent["w21003"] |= sent["w01018"]
    got = check(sent, cp={"CompleteTime": "20240601013000", "SampleType": "1"})
    assert [(item.sample_type, write_time(item.completed)) for item in got.items] == [
        ("1", "20240601013000"), ("2", "20240601013000"),
    ]  # fmt: skip


def test_a_check_that_lacks_a_number_says_so_and_keeps_the_rest():
    got = check({"w01018": {"SampleRd": "x", "ResultType": "0", "CompleteTime": "soon"}, "R1": {"Flag": "N"}})
    assert len(got.items) == 1
    assert math.isnan(got.items[0].measured)
    assert math.isnan(got.items[0].nominal)
    assert got.warnings == ["bad_number:w01018-SampleRd=x", "bad_time:w01018-CompleteTime=soon", "nothing_measured:R1"]


def test_requests_broken_frames_and_checks_without_a_time_bring_none():
    assert check(cp={"PolId": "w01018"}, datatime=None) == ("1", None, [], [])
    assert check({"w01018": {"SampleRd": "1"}}, cn="2061").items == []
    assert check({"w01018": {"SampleRd": "1"}}, datatime="x").warnings == ["bad_time:x"]
    raw = encode(st="32", cn="2062", datatime="20240601010000", factors={"w01018": {"SampleRd": "1"}})
    assert checks(decode(raw[:-6] + b"0000\r\n")).warnings == ["broken:crc"]
