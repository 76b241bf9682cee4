"""The pages of the standards: list, search, one standard with its rows, and the way there from a verdict."""

from __future__ import annotations

import pytest

from ceguan.standards import catalogue
from ceguan.web.pages.standards import citations


def text(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("user", ["duty", "enterprise"])
def test_the_list_has_every_standard_by_subject_with_what_is_unverified(signed_in, user):
    page = text(signed_in(user), "/standards/")
    for one in catalogue.standards():
        assert f'href="/standards/{one.slug}/"' in page or one.name in page
    assert "未核 16 行" in page, "GB 13223-2011 is from memory"
    assert "声环境质量标准" in page


def test_the_list_is_searched_by_item_and_says_when_nothing_is_found(signed_in):
    page = text(signed_in("duty"), "/standards/?q=烷基汞")
    assert "GB 8978-1996" in page
    assert "GB 3096-2008" not in page
    assert "没有符合的标准" in text(signed_in("duty"), "/standards/?q=没有这个词")


def test_a_standard_shows_rows_clause_validity_trust_source_and_a_worked_example(signed_in):
    page = text(signed_in("duty"), "/standards/GB-12348-2008/")
    assert "修正 -1" in page
    assert "5.7 表4" in page
    assert '<span class="chip chip-warn">未核</span>' in page
    assert "所据副本缺此页" in page
    assert 'id="noise_emissions-2"' in page


def test_rows_of_a_standard_are_searched_and_counted(signed_in):
    page = text(signed_in("duty"), "/standards/GB-8978-1996/?q=烷基汞")
    assert "225 行中的 1 行" in page
    assert "总镉" not in page
    assert "没有符合的行" in text(signed_in("duty"), "/standards/GB-8978-1996/?q=没有这个词")


def test_the_pages_speak_english_too(signed_in):
    client = signed_in("duty")
    client.post("/language/", {"language": "en", "next": "/"})
    page = text(client, "/standards/GB-12348-2008/")
    assert "limits of noise sources" in page
    assert "octave band" in page
    assert "unverified" in page
    assert "Standards" in text(client, "/standards/")


def test_an_unknown_standard_is_not_there_and_a_visitor_signs_in_first(signed_in, client):
    assert signed_in("duty").get("/standards/GB-1/").status_code == 404
    assert client.get("/standards/").status_code == 302


def test_a_verdict_leads_to_its_standard_and_row(signed_in, ledger):
    page = text(signed_in("duty"), f"/verdicts/{ledger.second}/")
    (found,) = citations("GB 13271-2014 表3")
    assert found.href.startswith("/standards/GB-13271-2014/#emission_limits-")
    assert f'<a href="{found.href}">GB 13271-2014 表3</a>' in page
    anchor = found.href.partition("#")[2]
    assert f'id="{anchor}"' in text(signed_in("duty"), "/standards/GB-13271-2014/")


def test_a_clause_leads_to_the_row_of_its_category_and_what_is_unknown_stays_text():
    first, second, third = citations("GB 3096-2008 表1；GB 13271-2014 表3 特别排放限值 燃气锅炉；许可证 DA001")
    assert first.href == "/standards/GB-3096-2008/#noise_limits-2"
    row = next(r for r in catalogue.find("GB 13271-2014").rows if r.category == "特别排放限值 燃气锅炉")
    assert second.href.endswith("#" + row.where.replace(".csv:", "-"))
    assert (third.text, third.href) == ("许可证 DA001", "")
    assert citations("") == []
