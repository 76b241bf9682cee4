"""The pieces every page is made of."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.template import Context, Template
from django.template.loader import get_template
from django.utils import translation

import ceguan.web
from ceguan.web.map import layers
from ceguan.web.templatetags import pieces
from ceguan.words import STATUSES

TEMPLATES = Path(ceguan.web.__file__).parent / "templates"
HOUR = int(datetime(2026, 3, 1, 6, tzinfo=UTC).timestamp())


def drawn(text: str, **context) -> str:
    return Template(text).render(Context(context))


def test_times_are_beijing_times_whatever_they_come_as():
    assert pieces.bj(HOUR) == pieces.bj(datetime(2026, 3, 1, 6, tzinfo=UTC)) == "2026-03-01 14:00"
    assert pieces.iso(HOUR) == "2026-03-01T14:00:00+08:00"
    assert pieces.bj(None) == pieces.bj(float("nan")) == "—"


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "刚刚"), (600, "10 分钟前"), (7200, "2 小时前"), (3 * 86400, "3 天前")]
)
def test_an_age_is_said_in_the_largest_unit_that_fits(seconds, said):
    assert pieces.ago(HOUR, HOUR + seconds) == said


def test_a_figure_never_stands_without_unit_and_state():
    text = drawn('{% value 12.345 "mg/m³" at 1 "reviewed" 0.96 "/verdicts/1/" %}', at=HOUR)
    assert all(part in text for part in ("12.3", "mg/m³", "03-01 14:00", "已审核", "96%", 'href="/verdicts/1/"'))


def test_no_value_is_a_dash_not_a_zero():
    assert "—" in drawn('{% value number "mg/m³" %}', number=float("nan"))
    assert "mg/m³" not in drawn('{% value None "mg/m³" %}')


@pytest.mark.parametrize("state", list(STATUSES))
def test_a_freshness_ring_says_its_state_as_a_word(state):
    assert STATUSES[state].zh in drawn("{% ring state %}", state=state)
    assert f"ring-{state}" in drawn("{% ring state %}", state=state)


@pytest.mark.parametrize(
    ("call", "look", "said"),
    [
        ("3 'wd'", "clock-chip ", "余 <b>3</b> 工作日"),
        ("1 'd'", "clock-soon", "余 <b>1</b> 日"),
        ("-2 'wd'", "clock-over", "超期 <b>2</b> 工作日"),
        ("4 'wd' False", "clock-paused", "暂停，余 <b>4</b>"),
        ("None", "clock-none", "不计期"),
    ],
)
def test_a_clock_chip_says_how_long_and_in_which_days(call, look, said):
    text = drawn("{% clock_chip " + call + " %}")
    assert look in text
    assert said in text


def test_a_gap_bar_places_each_gap_and_says_its_cause():
    gaps = [
        (HOUR, HOUR + 3600, "maintenance:换滤膜", "维护：换滤膜"),
        (HOUR + 7200, HOUR + 10800, "packet", "未收到数据包"),
    ]
    text = drawn("{% gap_bar gaps start end %}", gaps=gaps, start=HOUR, end=HOUR + 36000)
    assert 'class="gap gap-maintenance" x="0.0" y="0" width="100.0"' in text
    assert "维护：换滤膜" in text
    assert "未收到数据包" in text
    assert "没有缺口" in drawn("{% gap_bar gaps start end %}", gaps=[], start=0, end=10)


def test_a_grade_carries_a_mark_beside_its_colour():
    day = datetime(2026, 3, 2, tzinfo=UTC).date()
    for layer in layers.layers(day):
        for grade in layer.grades:
            assert re.search(r">[^<]+<", pieces.grade_badge(grade)), grade
            assert grade.mark


def test_labels_follow_the_language():
    with translation.override("en"):
        assert "live" in drawn("{% ring 'live' %}")
        assert pieces.kind_name("air") == "Air station"


PAGES = [path for path in sorted(TEMPLATES.rglob("*.html")) if path.name != "pack.html"]  # a file of an exported case


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_template_holds_inline_script_style_or_handlers(path):
    text = path.read_text()
    get_template(str(path.relative_to(TEMPLATES)))
    assert not re.search(r"""\sstyle=|\son[a-z]+=["']|<style""", text)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert "hx-on" not in text
