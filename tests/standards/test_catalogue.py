"""The list of standards: each with a name, its columns named in both languages, and a case that is worked out."""

from __future__ import annotations

from collections import Counter

import pytest

from ceguan.science import examples
from ceguan.standards import catalogue
from ceguan.standards.tables import TABLES, TRUST, rows

EACH = [pytest.param(one, id=one.slug) for one in catalogue.standards()]


def test_every_row_of_every_table_is_on_exactly_one_page():
    shown = Counter(row.where for one in catalogue.standards() for row in one.rows)
    assert set(shown) == {row.where for kind in TABLES for row in rows(kind)}
    assert set(shown.values()) == {1}


def test_addresses_are_not_shared():
    slugs = [one.slug for one in catalogue.standards()]
    assert len(set(slugs)) == len(slugs)
    anchors = [line.anchor for one in catalogue.standards() for part in one.parts for line in part.lines]
    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("one", EACH)
def test_a_standard_has_a_name_and_its_columns_words_in_both_languages(one):
    assert one.title.zh
    assert one.title.en
    for part in one.parts:
        assert part.title.zh
        assert part.title.en
        assert all(c.heading.zh and c.heading.en for c in part.columns)
        assert all(line.row.source == part.sources[line.note - 1] for line in part.lines)


@pytest.mark.parametrize("one", EACH)
def test_a_standard_has_a_worked_example_in_both_languages(one):
    case = examples.example(one.name)
    assert case is not None
    assert case.given.zh
    assert case.given.en
    assert case.result.zh
    assert case.result.en
    assert "{" not in case.result.zh + case.result.en
    assert "未判定" not in case.result.zh


def test_examples_are_what_the_clauses_say():
    """Worked by hand: 62 - 1 = 61 against 60; 3 kg of 2, 3, 2; 19/20 · 18/20 = 85.5 %; 60/50 - 1 = 0.2."""
    said = {name: examples.example(name).result.zh for name in ("GB 12348-2008", "HJ 75-2017", "GB 18918-2002")}
    assert said["GB 12348-2008"].startswith("超标：61（测量 62，背景 56，修正 -1） / 60 dB(A)")
    assert said["HJ 75-2017"].startswith("替代 3 kg：季度捕集率 95.0%")
    assert said["GB 18918-2002"].startswith("超标：60 / 50 mg/L")
    rate = examples.example("自动监测数据有效传输率统计算法说明").result.zh
    assert "有效传输率 85.50%" in rate


def test_every_trust_has_words():
    assert set(catalogue.TRUST_WORDS) == set(TRUST)


def test_a_search_finds_by_name_title_clause_or_cell_in_both_languages():
    def found(words):
        return {one.name for one in catalogue.standards() if one.matches(words)}

    assert found("声环境质量标准 3096") == {"GB 3096-2008"}
    assert "GB 8978-1996" in found("烷基汞")
    assert "GB 12348-2008" in found("octave band")
    assert "GB 18484-2020" in found("焚烧 7.2")
    assert found("没有这个词") == set()


def test_a_standard_is_found_by_name_or_address_and_tells_its_validity():
    old = catalogue.find("HJ 633-2012")
    assert old is catalogue.find("HJ-633-2012")
    assert str(old.valid_to) == "2026-02-28"
    assert catalogue.find("GB 3096-2008").valid_to is None
    assert catalogue.find("GB 9999") is None
    assert catalogue.find("GB 13223-2011").unsure == 16
