"""Every row of the factor table is a test."""

import pytest

from ceguan.standards import factors
from ceguan.standards.tables import TRUST

ROWS = factors.rows()


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code17 or row.code05}|{row.name}|{row.source}" for row in ROWS])
def test_a_row_has_a_code_a_name_a_medium_a_source_and_a_trust(row):
    assert row.code17 or row.code05
    assert row.name
    assert row.medium
    assert row.source
    assert row.trust in TRUST
    assert bool(row.symbol) <= bool(row.unit)
    assert factors.find(row.code17 or row.code05) is not None


def test_code_and_source_are_the_key_but_for_two_families_the_standard_itself_doubles():
    keys = [(row.code17 or row.code05, row.source) for row in ROWS]
    assert {code for code, source in keys if keys.count((code, source)) > 1} == {"e701xx", "g119xx"}


def test_an_old_code_has_one_successor():
    pairs = {(row.code05, row.code17) for row in ROWS if row.code05 and row.code17}
    assert len({old for old, _ in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("old", "new"), [("011", "w01018"), ("060", "w21003"), ("02", "a21026"), ("S01", "a19001"), ("B02", "a00000")]
)
def test_old_codes_become_new_ones(old, new):
    assert factors.current_code(old) == new


def test_new_and_unknown_codes_and_codes_without_successor_stay():
    assert [factors.current_code(code) for code in ("w01018", "R01", "025")] == ["w01018", "R01", "025"]


def test_the_unit_of_an_old_code_is_that_of_its_own_edition():
    assert factors.find("020").symbol == "mg/L"
    assert factors.find("w20111").symbol == "µg/L"


def test_the_edition_says_which_table_speaks_first():
    assert [factors.find("Ld", edition).name[:2] for edition in (None, 2017, 2005)] == ["昼间", "昼间", "夜间"]
    assert [factors.find("Ln", edition).name[:2] for edition in (None, 2017, 2005)] == ["夜间", "夜间", "昼间"]
    assert [factors.find("a34013", edition).name for edition in (2017, 2025)] == ["烟尘", "颗粒物（烟尘）"]
    assert factors.find("a34004", 2025).source.startswith("HJ 212-2017"), "what an edition lacks the others have"
    assert factors.find("020", 2017).symbol == "mg/L"
    assert factors.find("zzz", 2025) is None


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code17 or row.code05}|{row.name}|{row.source}" for row in ROWS])
def test_each_row_is_among_the_meanings_of_its_code_in_its_edition(row):
    editions = {"HJ 212-2017": 2017, "HJ 212-2025": 2025, "HJ/T 212-2005": 2005}
    edition = next((year for name, year in editions.items() if row.source.startswith(name)), None)
    assert row in factors.meanings(row.code17 or row.code05, edition)
    assert not row.code05 or row in factors.meanings(row.code05, edition) or edition != 2005


def test_two_families_have_two_meanings_that_only_the_unit_tells_apart():
    assert [row.symbol for row in factors.meanings("e70101")] == ["A", "mg/L"]
    assert [row.name for row in factors.meanings("g11902")] == ["脱硫率", "入口二氧化硫SO2"]
    doubled = {row.code17 for row in ROWS for edition in (None, 2005, 2017, 2025)
               if len(factors.meanings(row.code17, edition)) > 1}  # fmt: skip
    assert doubled == {"e701xx", "g119xx"}


def test_families_are_found_by_any_of_their_codes():
    assert factors.find("d20105").code17 == "d2xxxx"
    assert factors.find("zzz") is None
    assert factors.find("") is None


def test_the_common_factors_have_an_english_name():
    assert sum(bool(row.name_en) for row in ROWS if row.source.startswith("HJ 212-2017")) >= 60
