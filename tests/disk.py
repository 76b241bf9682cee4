"""A small disk of its own for a test: it can be filled, freed, made read-only, and can fail. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PAGE = 4096
"""What a tmpfs gives out at least."""


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Until only about `leave` bytes are free."""
        with open(self._ballast, "ab", buffering=0) as file, suppress(OSError):
            while (room := self.free - leave) > 0:
                file.write(bytes(min(room, 1 << 20)))

    def relieve(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def read_only(self, yes: bool) -> None:
        """Nobody may have a file open for writing."""
        subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", self.folder], check=True)


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk at the empty folder `folder`. Skips the test where nobody may mount; with CI=true that fails the run."""
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Failing:
    """A disk with ext4 that is read-only from `fail` on, whoever has files open on it: what a bad block does. Nobody
    makes it writable but `repair`, for which nobody may have a file open."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder, self._image = folder, image
        self._mount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self._image, self.folder], check=True)

    def sync(self) -> None:
        """What anybody has written is on the disk."""
        subprocess.run(["sync", "-f", self.folder], check=True)

    def fail(self) -> None:
        found = subprocess.run(["findmnt", "-no", "SOURCE", self.folder], check=True, capture_output=True, text=True)
        Path(f"/sys/fs/ext4/{Path(found.stdout.strip()).name}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        subprocess.run(["umount", self.folder], check=True)
        subprocess.run(["e2fsck", "-p", self._image], stdout=subprocess.DEVNULL)
        self._mount()


@contextmanager
def failing(folder: Path, image: Path, megabytes: int) -> Iterator[Failing]:
    """Such a disk at the empty folder `folder`, its content in the file `image`."""
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    disk = Failing(folder, image)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
