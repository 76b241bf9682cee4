"""`ceguan hj212 import`: what it says while it surveys recordings, takes them in or writes them as columns."""

from __future__ import annotations

import getpass
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ceguan import clock, settings
from ceguan.intake import keys
from ceguan.intake.console import cause, failed
from ceguan.intake.hj212 import recording, sm4
from ceguan.intake.hj212.recording import Report, Survey, Unreadable
from ceguan.pulse import pulse
from ceguan.registry.models import User
from ceguan.registry.rights import Forbidden
from ceguan.store import ArchiveError, Store
from ceguan.words import beijing


def run(
    files: Sequence[Path], target: Path | None, yes: bool, by: str | None, key: bytes | None = None,
    registered: bool = False,
) -> int:  # fmt: skip
    """The exit code: 0 done (or previewed), 2 when something cannot be read, holds no frame, or is refused.

    Enciphered areas are read with `key`, else with the keys in the register; those of columns with the latter only
    where `registered` says so.
    """
    if key is not None and target is None:
        return failed("--key 只用于写成 Parquet（--to）；收入平台的报文用登记的设备密钥解密：请先在设备页登记密钥")
    try:
        user = User.objects.get(username=by) if by else None
        if target is not None:
            return _columns(files, target, _keys(key, registered))
        found = _surveyed(files)
        if found is None or not yes:
            return 2 if found is None else 0
        return _take_in(found, user, f"local:{getpass.getuser()}" if user is None else user.username)
    except User.DoesNotExist:
        return failed(f"没有用户 {by}")
    except BlockingIOError:
        return failed("另一个进程正在导入同一份报文")
    except OSError as error:
        return failed(f"{error.filename or files[0]}：{cause(error)}")
    except (Unreadable, Forbidden, ArchiveError) as error:
        return failed(str(error))


def _keys(key: bytes | None, registered: bool) -> sm4.Key | None:
    """What opens a device's areas: the given key first, then those in the register."""
    if key is None or not registered:
        return keys.lookup if registered else key
    return lambda mn: [key, *keys.lookup(mn)]


def _surveyed(files: Sequence[Path]) -> list[Survey] | None:
    """Says what is in each file; None when one of them holds no frame."""
    found = []
    for path in files:
        with _bar(f"读 {path.name}", path) as report:
            found.append(recording.survey(path, report, keys.lookup))
        _say(found[-1])
    empty = [one.name for one in found if not one.counts["frames"]]
    if empty:
        failed(f"{'、'.join(empty)}：没有一帧可以收入，不是 HJ 212 报文？")
        return None
    print("加 --yes 收入" if len(found) == 1 else f"共 {len(found)} 个文件；加 --yes 收入", file=sys.stderr)
    return found


def _say(found: Survey) -> None:
    counts = found.counts
    print(
        f"{found.name}：{counts['bytes']} 字节，好帧 {counts['frames']}，坏帧 {counts['bad']}，"
        f"噪声 {counts['noise']} 段，值 {counts['rows']} 个"
    )
    if found.first is not None and found.last is not None:
        print(f"  数据时间 {beijing(found.first):%Y-%m-%d %H:%M} 至 {beijing(found.last):%Y-%m-%d %H:%M}")
    if unknown := sorted(found.devices - set(recording.adopted(found.devices))):
        shown = "、".join(unknown[:5]) + (" 等" if len(unknown) > 5 else "")
        print(f"  设备 {len(found.devices)} 台，其中 {len(unknown)} 台未接入，其报文收入后待接入：{shown}")
    else:
        print(f"  设备 {len(found.devices)} 台，均已接入")


def _take_in(found: list[Survey], user: User | None, by: str) -> int:
    values, taken = settings.load(), 0
    for one in found:
        with _bar(f"收入 {one.name}", one.path) as report:
            try:
                outcome = recording.take_in(one, user, by, Store(values.folder), clock.now, report)
            except KeyboardInterrupt:
                print(f"{one.name}：中断；已收入的部分保留，再次运行同一命令即接着收", file=sys.stderr)
                raise
        if outcome.already is not None:
            print(f"{one.name}：{beijing(outcome.already):%Y-%m-%d %H:%M} 已收入过，没有再收")
            continue
        counts = outcome.counts
        taken += counts.total()
        before = f"；接着上次中断处，此前已收入 {outcome.before} 条" if outcome.before else ""
        print(f"{one.name}：收入好帧 {counts['frames']}，坏帧和噪声 {counts['bad']}{before}")
    if taken and not pulse(values.folder / "clockwork.json", time.time()).alive:
        print("已存入归档；时钟没有运行，启动后（ceguan serve 或 ceguan clockwork）才进入台账", file=sys.stderr)
    return 0


def _columns(files: Sequence[Path], target: Path, key: sm4.Key | None) -> int:
    with _bar(f"写 {target.name}", *files) as report:
        counts = recording.to_parquet(files, target, report, key)
    print(
        f"{target}：{counts['rows']} 行，来自好帧 {counts['frames']}；"
        f"坏帧 {counts['bad']} 和噪声 {counts['noise']} 段没有列"
    )
    return 0


@contextmanager
def _bar(title: str, *files: Path) -> Iterator[Report]:
    """Bytes, rate, time left, frames – on a terminal's standard error; nothing where nobody watches."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[frames]} 帧，{task.fields[rate]} 帧/秒"),
    )  # fmt: skip
    console, begun = Console(stderr=True), time.monotonic()
    total = sum(path.stat().st_size for path in files)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, frames=0, rate=0)
        read, behind = 0, 0

        def report(place: int, counts: Counter[str]) -> None:
            nonlocal read, behind
            if place < read:  # the next file
                behind += read
            read = place
            rate = counts["frames"] / max(time.monotonic() - begun, 1e-9)
            progress.update(task, completed=behind + read, frames=counts["frames"], rate=round(rate))

        yield report
