"""The tables of commands: every row can be sent as the standard prints it, and a wrong parameter says what is right."""

from __future__ import annotations

import pytest

from ceguan.intake.hj212 import commands
from ceguan.intake.hj212.commands import CommandError, Risk
from ceguan.intake.hj212.frame import decode, framed
from ceguan.standards.tables import TRUST

CODES = ["w01018", "w21003"]
GOOD = {
    "OverTime": "5", "ReCount": "3", "PolId": "w01018", "SystemTime": "20160801085857", "RtdInterval": "30",
    "MinInterval": "10", "NewPW": "654321", "PW": "654321", "BeginTime": "20160801080000",
    "EndTime": "20160801090000", "CstartTime": "000000", "Ctime": "2", "CTime": "4 10", "InfoId": "i13004",
    "Info": "168.0", "CalibrationType": "0", "SKCreateTime": "20260101000000", "NewSK": "0123456789abcdef",
}  # fmt: skip
ROWS = [pytest.param(row, id=f"{row.edition}-{row.cn}") for row in commands.rows()]
PRINTED = [
    ("2017", "1000", {"OverTime": "5", "ReCount": "3"}, "OverTime=5;ReCount=3"),  # 表C.1
    ("2017", "1011", {"PolId": "w01018"}, "PolId=w01018"),  # 表C.2
    ("2017", "1062", {"RtdInterval": "30"}, "RtdInterval=30"),  # 表C.6
    ("2017", "1064", {"MinInterval": "10"}, "MinInterval=10"),  # 表C.8
    ("2017", "1072", {"NewPW": "654321"}, "NewPW=654321"),  # 表C.9
    ("2017", "2061", {"EndTime": "20160801080000", "BeginTime": "20160801080000"},
     "BeginTime=20160801080000;EndTime=20160801080000"),  # 表C.21
    ("2017", "3020", {"PolId": "w01018", "InfoId": "i11001", "BeginTime": "20160801010522",
                      "EndTime": "20160801085857"},
     "PolId=w01018;InfoId=i11001;BeginTime=20160801010522,EndTime=20160801085857"),  # 表C.41
    ("2017", "3021", {"PolId": "w01018", "InfoId": "i13004", "Info": "168.0"},
     "PolId=w01018;InfoId=i13004;i13004-Info=168.0"),  # 表C.46
    ("2005", "2031", {"BeginTime": "20040506000000", "EndTime": "20040510000000"},
     "BeginTime=20040506000000,EndTime=20040510000000"),  # 附录C
    ("2005", "1012", {"SystemTime": "20040516010101"}, "SystemTime=20040516010101"),  # 附录C
    ("2005", "3013", {"PolId": "w01018"}, "PolId=011"),
    ("2005", "3014", {"PolId": "w01018", "CTime": "4 10"}, "PolId=011,CTime=04,CTime=10"),
    ("2025", "3011", {"PolId": "w01018", "CalibrationType": "0"}, "PolId=w01018,CalibrationType=0"),
]  # fmt: skip
WRONG = [
    ("2017", "1064", {"MinInterval": "7"}, "1、2、3、4、5、6、10、12、15、20、30"),
    ("2017", "1062", {"RtdInterval": "29"}, "30–3600"),
    ("2017", "1062", {"RtdInterval": "3601"}, "30–3600"),
    ("2017", "1000", {"OverTime": "0", "ReCount": "3"}, "1–99"),
    ("2017", "1000", {"OverTime": "5"}, "缺少参数 ReCount"),
    ("2017", "3011", {"PolId": "a21026"}, "该设备有：w01018、w21003"),
    ("2017", "3011", {"Pol": "w01018"}, "没有参数 Pol"),
    ("2017", "2061", {"BeginTime": "20160801080000", "EndTime": "2016080107"}, "14 位"),
    ("2017", "2061", {"BeginTime": "20160801080000", "EndTime": "20160801070000"}, "早于开始时间"),
    ("2017", "2061", {"BeginTime": "20160230080000", "EndTime": "20160801070000"}, "14 位"),
    ("2017", "3020", {"InfoId": "i11001", "BeginTime": "20160801080000"}, "同时给出"),
    ("2017", "3021", {"PolId": "w01018", "InfoId": "i13004", "Info": "1;CN=3011"}, "不含"),
    ("2017", "1072", {"NewPW": "12345;"}, "6 位字母或数字"),
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_where_it_comes_from_and_how_sure_it_is(row):
    assert row.standard
    assert row.clause
    assert row.source
    assert row.trust in TRUST
    assert row.group in commands.GROUPS
    assert row.answer in ("result", "one", "many", "notice")
    assert row.name
    assert row.name_en
    assert bool(row.brings) == bool(row.brings_en)
    assert row.sendable or row.note, "what cannot be sent says why"


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].sendable])
def test_a_row_makes_a_data_area_that_reads_back_as_it_was_given(row):
    given = {token.name: GOOD[token.name] for token in row.tokens}
    values = commands.check(row, given, CODES)
    area = commands.area(row, values)
    read = decode(framed(f"ST=32;CN={row.cn};PW=123456;MN=M1;Flag=5;CP=&&{area}&&".encode()))
    assert read.ok
    said = dict(read.cp)
    for fields in read.factors.values():
        said |= fields
    assert {name: " ".join(v) if isinstance(v, list) else v for name, v in said.items()} == values


@pytest.mark.parametrize("row", [pytest.param(r, id=f"{r.edition}-{r.name}") for r in commands.parameters().values()])
def test_a_parameter_says_what_is_valid_and_takes_it(row):
    assert row.zh
    assert row.en
    assert row.wanted
    assert row.trust in TRUST
    assert row.source
    users = [one for one in commands.rows() if one.edition == row.edition and row.name in {t.name for t in one.tokens}]
    assert users, "a parameter that no command has"


@pytest.mark.parametrize("row", [pytest.param(r, id="-".join(key)) for key, r in commands.returns().items()])
def test_a_return_code_has_words(row):
    assert row.zh
    assert row.en
    assert row.clause
    assert row.trust in TRUST
    assert row.edition in commands.EDITIONS


def test_a_code_no_edition_has_is_shown_as_it_came():
    assert commands.said("QnRtn", "2017", "77").zh == "标准中没有的代码 77"


@pytest.mark.parametrize("row", [pytest.param(r, id="-".join(key)) for key, r in commands.links().items()])
def test_a_line_has_a_time_out_and_a_number_of_re_sends(row):
    assert 0 < row.over_time <= 99
    assert 0 < row.re_count <= 99
    assert row.source


def test_defaults_follow_the_edition_and_the_kind_of_line():
    assert commands.defaults("2017", "TD-LTE") == (10, 3)  # 2017 表1
    assert commands.defaults("2017", "ADSL") == (5, 3)
    assert commands.defaults("2005", "SMS") == (30, 3)
    assert commands.defaults("2005", "TD-LTE") == (10, 3), "2005 knows no TD-LTE: its first line speaks"


@pytest.mark.parametrize(("edition", "cn", "given", "area"), PRINTED)
def test_a_data_area_is_what_the_standard_prints(edition, cn, given, area):
    row = commands.find(cn, edition)
    assert commands.area(row, commands.check(row, given, CODES)) == area


@pytest.mark.parametrize(("edition", "cn", "given", "said"), WRONG)
def test_a_wrong_parameter_says_what_would_be_valid(edition, cn, given, said):
    with pytest.raises(CommandError, match=said):
        commands.check(commands.find(cn, edition), given, CODES)


def test_a_password_is_not_repeated_in_the_message():
    with pytest.raises(CommandError) as error:
        commands.check(commands.find("1072", "2017"), {"NewPW": "geheim!"})
    assert "geheim" not in str(error.value)


def test_a_command_of_another_edition_or_of_unknown_form_says_so():
    with pytest.raises(CommandError, match="没有可下发的命令 3024"):
        commands.find("3024", "2017")
    with pytest.raises(CommandError, match="未见原文，不能下发"):
        commands.find("1002", "2025")


def test_what_reads_changes_and_acts_is_told_apart():
    assert commands.find("2061", "2017").risk == Risk.READS
    assert commands.find("1062", "2017").risk == Risk.CHANGES
    assert commands.find("3011", "2017").risk == Risk.ACTS
    assert not [row for row in commands.rows() if row.risk == Risk.READS and row.answer not in ("one", "many")]
