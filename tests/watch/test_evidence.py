"""The heads of the archive's chains are noted once a day in the audit trail, and what was noted binds."""

import pytest

from ceguan.registry import audit
from ceguan.settings import load
from ceguan.store import ArchiveError, ArchiveWriter, RecordKind, archive, proofs
from ceguan.store.verify import verify
from ceguan.watch import evidence

DAY = 86400
NOON = 1790000000 // DAY * DAY + 4 * 3600  # in Beijing


def fill(data, count=40):
    with ArchiveWriter(data / "archive", 0, 2048) as writer:
        for number in range(count):
            writer.append(RecordKind.FRAME, 1.5 + number, "10.0.0.7:51234", b"%0100d" % number)


def test_each_day_has_its_head_and_a_cut_end_is_found_by_it(db):
    fill(db)
    assert evidence.step(load(), NOON) == 2
    assert evidence.step(load(), NOON + 3600) == 0
    fill(db)
    evidence.step(load(), NOON + DAY)
    noted = evidence.noted()
    assert [one.head.segment for one in noted] == [1, 4]
    assert audit.verify() is None
    heads = [one.head for one in noted]
    assert verify(db / "archive", 0, heads).broken is None
    archive.segment_path(db / "archive" / "0000", heads[-1].open_segment).unlink()
    assert verify(db / "archive", 0, heads).broken.segment == heads[-1].open_segment


def test_a_segment_that_was_changed_is_said_and_not_proved(db):
    fill(db)
    path = archive.segment_path(db / "archive" / "0000", 1)
    path.write_bytes(path.read_bytes().replace(b"0017", b"0018"))
    with pytest.raises(ArchiveError, match="段 1"):
        evidence.step(load(), NOON)
    assert len(proofs.lines(db / "archive", 0)) == 1


def test_nothing_is_noted_while_there_is_no_archive(db):
    evidence.step(load(), NOON)
    assert evidence.noted() == []
