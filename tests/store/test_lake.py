"""History in S3-compatible storage, against a real server: copies within a bound, whole files only, no secrets told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ceguan.store import HistoryError, Store, lake
from tests import s3
from tests.store.conftest import APRIL, HOUR, MARCH, add, reading


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    return s3.new_prefix(monkeypatch)


def sealed(folder: Path, url: str) -> Store:
    """Two series over two months, both sealed."""
    store = Store(folder, write=True, database="", history=url)
    add(store, *(reading(s, t, s + t % 97) for s in (1, 2) for t in range(MARCH, APRIL + 9 * HOUR, HOUR)))
    store.seal("2026-03", 1.0)
    store.seal("2026-04", 2.0)
    return store


def copies(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / "history-cache").iterdir())


def values(store: Store) -> list[float]:
    found: list[float] = store.readings([1, 2], 2, 0, 1 << 40)["value"].to_pylist()
    return found


def test_sealed_files_lie_in_the_bucket_and_a_machine_without_copies_reads_them(tmp_path: Path, url: str) -> None:
    with sealed(tmp_path, url) as store:
        assert s3.names(url) == ["history/2026-03.g001.parquet", "history/2026-04.g001.parquet"]
        expected = values(store)
        for name in copies(tmp_path):
            (tmp_path / "history-cache" / name).unlink()
        assert values(store) == expected
        assert copies(tmp_path) == ["2026-03.g001.parquet", "2026-04.g001.parquet"]


def test_copies_used_longest_ago_make_room_and_are_fetched_again(tmp_path: Path, url: str) -> None:
    with sealed(tmp_path, url) as store:
        expected = values(store)
        for name in copies(tmp_path):
            os.utime(tmp_path / "history-cache" / name, (1, 1))
        small = store.history._replace(bound=1)
        small.paths(["2026-04.g001.parquet"])
        (tmp_path / "history-cache" / "2026-04.g001.parquet").unlink()
        small.paths(["2026-04.g001.parquet"])
        assert copies(tmp_path) == ["2026-04.g001.parquet"]
        assert values(store) == expected


def test_of_a_file_too_big_to_copy_only_row_groups_are_read(tmp_path: Path, url: str) -> None:
    with sealed(tmp_path, url) as store:
        expected, late = values(store), reading(1, MARCH, -5.0)
        for name in copies(tmp_path):
            (tmp_path / "history-cache" / name).unlink()
        store.history = store.ledger.history = store.history._replace(bound=4)
        assert values(store) == expected
        assert add(store, late, reading(2, MARCH, 2.0 + MARCH % 97)).changed[0][:5] == (1, 2, MARCH, 1, -5.0)
        assert store.exact([[1, 2, MARCH, 0], [1, 2, MARCH, 1]])["value"].to_pylist() == [1.0 + MARCH % 97, -5.0]
        assert copies(tmp_path) == []


def test_what_a_crash_left_under_the_temporary_key_is_no_file_and_is_overwritten(tmp_path: Path, url: str) -> None:
    bucket = url.removeprefix("s3://").partition("/")[0]
    s3.client().put_object(Bucket=bucket, Key="history/2026-03.g001.parquet.tmp", Body=b"half a file")
    with sealed(tmp_path, url) as store:
        assert s3.names(url) == ["history/2026-03.g001.parquet", "history/2026-04.g001.parquet"]
        assert len(values(store)) == 2 * (31 * 24 + 9)


def test_killed_between_the_storage_and_the_manifest_nothing_is_lost(tmp_path: Path, url: str) -> None:
    """The file has its final key, the ledger does not know: the next attempt writes it again."""
    with Store(tmp_path, write=True, database="", history=url) as store:
        add(store, *(reading(1, t, t % 89) for t in range(MARCH, APRIL, HOUR)))
        expected = values(store)
    script = f"""
        import os, signal
        from ceguan.store import Store, sealed
        sealed._hand_over = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        with Store({str(tmp_path)!r}, write=True, database="", history={url!r}) as store:
            store.seal("2026-03", 1.0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert s3.names(url) == ["history/2026-03.g001.parquet"]
    with Store(tmp_path, write=True, database="", history=url) as store:
        assert store.manifest().num_rows == 0
        assert values(store) == expected
        store.seal("2026-03", 2.0)
        assert values(store) == expected


def test_what_fails_names_the_file_and_tells_no_secret(tmp_path: Path, url: str) -> None:
    with sealed(tmp_path, url) as store:
        bucket = url.removeprefix("s3://").partition("/")[0]
        s3.client().delete_object(Bucket=bucket, Key="history/2026-03.g001.parquet")
        (tmp_path / "history-cache" / "2026-03.g001.parquet").unlink()
        with pytest.raises(HistoryError, match=rf"{bucket}/history/2026-03\.g001\.parquet") as raised:
            values(store)
        assert "very-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://key:secret@bucket/history", "不得含密钥"),
        ("s3://bucket/history?secret_key=x", "不得含密钥"),
        ("https://bucket/history", "s3://桶/前缀"),
        ("s3:///history", "s3://桶/前缀"),
    ],
)
def test_an_address_that_is_none_or_holds_keys_is_refused(tmp_path: Path, address: str, says: str) -> None:
    with pytest.raises(HistoryError, match=says):
        lake.of(tmp_path, address, 1)


def test_a_shared_folder_is_a_history_too(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with sealed(tmp_path / "one", str(shared)) as store:
        assert sorted(entry.name for entry in shared.iterdir()) == ["2026-03.g001.parquet", "2026-04.g001.parquet"]
        assert len(values(store)) == 2 * (31 * 24 + 9)
