"""A message in the words of another edition, and back."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.intake.forward import translate
from ceguan.intake.forward.translate import Rule, Untranslatable, Wish
from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.merge import Merger
from ceguan.standards import factors as codes

MN = "010000A8900016F000169DC0"
UNITS_2005 = {"w01018": "mg/L", "w20111": "mg/L"}


def upload(cn="2061", factors=None, **head):
    given = {"st": "31", "mn": MN, "pw": "123456", "flag": 5, "qn": "20261124080000001", "datatime": "20261124070000"}
    return decode(encode(cn=cn, factors=factors or {"a21026": {"Avg": "12.3", "Flag": "N"}}, **{**given, **head}))


def told(frame, wish, mn=MN, units=None, again=False):
    message = translate.outgoing(frame, wish, mn, units or {}, again=again)
    made = translate.frames(message, wish, lambda count: [f"2026112408000000{n}" for n in range(count)])
    return [decode(raw, key=wish.key) if wish.key else decode(raw) for _, raw in made]


def test_the_flag_says_the_edition_and_whether_an_answer_is_wanted():
    flags = [
        [told(upload(), Wish(edition, answers=a))[0].flag for a in (True, False)] for edition in (2005, 2017, 2025)
    ]
    assert flags == [[1, 0], [5, 4], [9, 8]]


def test_the_target_reads_its_own_mn_password_and_system_code():
    frame = told(upload(), Wish(2017, "654321", st="22"), mn="88888880000001")[0]
    assert (frame.mn, frame.pw, frame.st, frame.cn, frame.datatime) == (
        "88888880000001", "654321", "22", "2061", "20261124070000",
    )  # fmt: skip


def test_old_codes_become_new_ones_and_new_ones_old():
    down = told(upload(st="32", factors={"w01018": {"Avg": "26.10", "Flag": "N"}}), Wish(2005))[0]
    assert down.factors == {"011": {"Avg": "26.10", "Flag": "N"}}
    up = told(down, Wish(2017))[0]
    assert up.factors == {"w01018": {"Avg": "26.10", "Flag": "N"}}


def test_a_value_follows_the_unit_of_the_code_in_the_other_edition():
    """HJ/T 212-2005 附录B has total mercury in mg/L, HJ 212-2017 表B.1 in µg/L."""
    frame = upload(st="32", factors={"020": {"Avg": "0.0125", "Cou": "0.0125", "Flag": "N"}})
    assert told(frame, Wish(2017))[0].factors == {"w20111": {"Avg": "12.5", "Cou": "0.0125", "Flag": "N"}}


def test_a_unit_confirmed_for_the_device_comes_before_the_table():
    frame = upload(st="32", factors={"020": {"Avg": "12.5"}})
    assert told(frame, Wish(2017), units={"w20111": "µg/L"})[0].factors == {"w20111": {"Avg": "12.5"}}


def test_nanogrammes_of_the_table_are_not_believed():
    frame = upload(factors={"10": {"Avg": "3.2"}})
    assert told(frame, Wish(2017), units={"a21001": "mg/m³"})[0].factors == {"a21001": {"Avg": "3.2"}}


def test_a_rule_renames_scales_and_selects():
    frame = upload(factors={"a21026": {"Avg": "12.30", "Max": "20"}, "a21002": {"Avg": "5"}})
    wish = Wish(2017, factors={"a21026": Rule("a99999", Decimal("0.001"))}, others=False)
    assert told(frame, wish)[0].factors == {"a99999": {"Avg": "0.0123", "Max": "0.02"}}


def test_an_upload_of_which_nothing_is_wanted_is_not_sent():
    with pytest.raises(Untranslatable, match="factors"):
        told(upload(), Wish(2017, factors={"a21002": Rule("")}, others=False))


@pytest.mark.parametrize(
    ("cn", "edition"), [("2062", 2017), ("2111", 2005), ("2081", 2005), ("2072", 2017), ("9021", 2017)]
)
def test_an_upload_the_edition_does_not_know_is_not_sent(cn, edition):
    with pytest.raises(Untranslatable, match=cn):
        told(upload(cn), Wish(edition))


def test_what_is_sent_again_says_so_in_2025_only():
    assert [told(upload(), Wish(edition), again=True)[0].rf for edition in (2005, 2017, 2025)] == [None, None, "1"]
    assert [told(upload(flag=9, rf="1"), Wish(edition))[0].rf for edition in (2017, 2025)] == [None, "1"]


def test_flags_of_an_air_station_change_with_the_edition():
    frame = upload(st="22", flag=1, factors={"a21026": {"Avg": "1", "Flag": "3"}, "a21005": {"Avg": "1", "Flag": "1"}})
    up = told(frame, Wish(2017))[0]
    assert [fields["Flag"] for fields in up.factors.values()] == ["N", "1"], "weather has no letter"
    assert [fields["Flag"] for fields in told(up, Wish(2005))[0].factors.values()] == ["3", "1"]


def test_fields_of_another_edition_are_left_out():
    frame = upload(factors={"a21026": {"Avg": "1", "SampleRd": "2", "Ala": "3"}})
    assert told(frame, Wish(2017))[0].factors == {"a21026": {"Avg": "1"}}
    assert told(frame, Wish(2025))[0].factors == {"a21026": {"Avg": "1", "SampleRd": "2"}}


@pytest.mark.parametrize(("edition", "form"), [(2005, "0001"), (2017, "1"), (2025, "1")])
def test_a_long_message_goes_in_parts_that_fit_and_join_again(edition, form):
    many = {f"a{n:05d}": {"Min": "1.1", "Avg": "2.2", "Max": "3.3", "Flag": "N"} for n in range(21001, 21081)}
    parts = told(upload(factors=many), Wish(edition))
    assert len(parts) > 3
    assert all(int(part.raw[2:6]) <= 1024 for part in parts)
    assert (parts[0].pno, parts[0].flag) == (form, {2005: 3, 2017: 7, 2025: 11}[edition])
    merger = Merger()
    whole = [message for part in reversed(parts) for message in merger.feed(part)]
    assert len(whole) == 1
    sent = {codes.current_code(code): fields for code, fields in whole[0].factors.items()}
    assert sent == {codes.current_code(code): fields for code, fields in many.items()}
    assert len({part.qn for part in parts}) == len(parts)


def test_the_same_message_sent_again_is_known_by_what_it_says():
    first, again = upload(), upload(qn="20261124080500777", pw="000000", flag=4)
    changed = upload(factors={"a21026": {"Avg": "12.4", "Flag": "N"}})
    assert translate.content(first) == translate.content(again)
    assert translate.content(first)[0] == translate.content(changed)[0]
    assert translate.content(first)[1] != translate.content(changed)[1]


NUMBERS = st.decimals(min_value=-9999, max_value=9999, places=3).map(lambda number: f"{number:f}")
NEW = st.sampled_from(sorted({row.code17 for row in codes.rows() if row.code17 and "x" not in row.code17}))
FIELDS = st.fixed_dictionaries(
    {"Avg": NUMBERS}, optional={"Min": NUMBERS, "Max": NUMBERS, "Cou": NUMBERS, "Flag": st.sampled_from("NFMSDCTB")}
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NEW, FIELDS, min_size=1, max_size=6), st.sampled_from((2005, 2025)))
def test_there_and_back_gives_the_same_message(factors, edition):
    frame = upload(factors=factors)
    there = told(frame, Wish(edition))[0]
    back = told(there, Wish(2017))[0]
    assert (back.st, back.cn, back.mn, back.datatime, back.flag) == (frame.st, frame.cn, frame.mn, frame.datatime, 5)
    numbers = {code: {name: _number(text) for name, text in fields.items()} for code, fields in back.factors.items()}
    assert numbers == {code: {n: _number(t) for n, t in fields.items()} for code, fields in factors.items()}


def _number(text):
    return text if text.isalpha() else Decimal(text)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.sampled_from(["1000", "0.001", "1", "3.6"]))
def test_scaling_is_exact_and_writes_no_exponent(text, factor):
    done = translate.scaled(text, Decimal(factor))
    assert Decimal(done) == Decimal(text) * Decimal(factor)
    assert "E" not in done.upper()


@pytest.mark.parametrize("text", ["", "---", "NaN", "1,2"])
def test_what_is_no_number_is_told_as_it_came(text):
    assert translate.scaled(text, Decimal(10)) == text
