"""Pages that come from tables say what the tables say; words and rooms are documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ceguan import words

ROOT = Path(__file__).parents[1]


def test_the_printed_pages_are_not_behind_their_tables():
    done = subprocess.run([sys.executable, "tools/print_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", sorted(p.name for p in (ROOT / "ceguan").iterdir() if (p / "__init__.py").is_file()))
def test_every_room_is_named_on_the_page_of_rooms(room):
    assert f"`{room}`" in (ROOT / "docs/rooms.md").read_text(encoding="utf-8")


def test_every_link_between_pages_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("labels", [words.POINT_KINDS, words.STATUSES, words.ROLES, words.DEVICE_FLAGS])
def test_every_shared_noun_has_both_languages(labels):
    assert all(label.zh and label.en for label in labels.values())


def test_a_speed_that_the_page_of_scale_rests_on_stands_on_the_page_of_measured_figures():
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    measured = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    for figure in re.findall(r"\| ([\d,]+) \S+ \| `bench/(?:gateway|clockwork)\.py` \|", text):
        assert figure in measured, f"{figure}: docs/bench.md says otherwise"


def test_the_arithmetic_of_scale_is_that_of_its_own_rows():
    """A county by hand: 320 devices × 1,609 frames a day × 468 bytes."""
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"| 归档，每日 | {320 * 1609 * 468 / 1e6:.1f} MB |" in text
    assert f"| 值/秒，平均（高峰） | {320 * 1609 * 10 / 86400:.0f}（" in text


def test_every_line_of_scale_is_measured_with_a_command_that_is_there_or_says_that_it_is_not_measured():
    measured, reckoned = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").split("## 推算")
    commands = re.findall(r"^\| .* \| `([^`]+)` \|$", measured, re.MULTILINE)
    assert len(commands) == len(re.findall(r"^\| (?!量 )", measured, re.MULTILINE)) > 0
    assert all((ROOT / command.split()[0]).is_file() for command in commands)
    lines = re.findall(r"^\| (?!量 ).* \| ([^|]+) \|$", reckoned, re.MULTILINE)
    assert lines
    assert all(line.startswith(("推算：", "假设", "估计：")) for line in lines)
