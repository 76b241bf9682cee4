"""What goes wrong in the invented city is published: the page docs/demo-city.md and the script say the same."""

from pathlib import Path

from ceguan.simulate import faults

PAGE = (Path(__file__).parents[2] / "docs" / "demo-city.md").read_text("utf-8")
ROWS = {cells[1].strip(): cells for line in PAGE.splitlines() if (cells := line.split("|")) and len(cells) == 7}


def test_every_row_of_the_script_is_on_the_page_with_both_its_sentences():
    for fault in faults.table():
        cells = ROWS.get(fault.name)
        assert cells is not None, f"docs/demo-city.md does not tell of {fault.name}"
        assert (cells[4].strip(), cells[5].strip()) == (fault.zh, fault.en)


def test_the_page_tells_of_no_fault_that_the_script_does_not_play():
    names = {fault.name for fault in faults.table()}
    assert {name for name in ROWS if name.isascii() and name.strip("-")} <= names


def test_the_page_names_the_logger_that_nobody_has_registered():
    assert faults.unknown().mn in PAGE
