"""What a sealed reading takes: a month of the invented city, through the real clockwork, in bytes a row by column.

python bench/sealed.py [--keep FOLDER]     half a minute; --keep leaves the data folder there and uses it again
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.words import BEIJING

MONTH = "2026-09"
NOW = datetime(2026, 10, 4, tzinfo=BEIJING).timestamp()
DAYS, SEED = 33, 7
"""The city sends ten-minute data for the last three days only: the month is hours and days, as the demo seals it."""
PART = {"_per": "power of ten", "_n": "whole number", "_x": "as it is"}


def build(folder: Path) -> None:
    """City, a month of frames, and the readings that the clockwork makes of them."""
    from django.core.management import call_command

    from ceguan import settings
    from ceguan.simulate import city, history
    from ceguan.watch.clockwork import Clockwork

    call_command("migrate", verbosity=0)
    city.build(NOW)
    history.write(folder, NOW, DAYS, SEED, lambda share: None)
    with Clockwork(settings.load()) as clockwork:
        while not clockwork.step(NOW).caught_up:
            pass


def by_column(path: Path) -> Counter[str]:
    """Compressed bytes of each column of a file."""
    found: Counter[str] = Counter()
    about = pq.read_metadata(path)
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        for at in range(group.num_columns):
            found[group.column(at).path_in_schema] += group.column(at).total_compressed_size
    return found


def figure(name: str, value: float, unit: str, conditions: str) -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, "conditions": conditions}), flush=True)


def measure(folder: Path) -> None:
    from ceguan.store import Store

    with Store(folder, write=True, database="", history="") as store:
        began, used = time.perf_counter(), time.process_time()
        if not store.manifest().num_rows:
            store.seal(MONTH, NOW)
        took, busy = time.perf_counter() - began, time.process_time() - used
        listed = store.manifest().to_pylist()
        paths = store.history.paths(row["path"] for row in listed)
    rows, size = (sum(row[name] for row in listed) for name in ("rows", "bytes"))
    columns = sum(map(by_column, paths), Counter[str]())
    conditions = f"{MONTH} of the invented city, {rows} rows, {len(paths)} file(s)"
    for name, part in columns.most_common():
        told = next((what for end, what in PART.items() if name.endswith(end)), "")
        figure(f"sealed, column {name}", part / rows, "bytes/row", f"{conditions}{told and '; '}{told}")
    figure("sealed, frame of the files", (size - columns.total()) / rows, "bytes/row", conditions)
    figure("sealed, in sum", size / rows, "bytes/row", conditions)
    if took > 0.05:
        figure("sealing", rows / took / 1000, "thousand rows/s", f"{conditions}; {busy:.1f} s of processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        os.environ |= {"CEGUAN_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
        import django

        django.setup()
        if not (folder / "readings.db").exists():
            folder.mkdir(exist_ok=True)
            build(folder)
        measure(folder)


if __name__ == "__main__":
    main()
