"""`ceguan clockwork [--once]`: the loop around `Clockwork.step`, with sealing, notices, and a heartbeat to look at."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ceguan import clock, settings
from ceguan.exposition import Exposition, Seconds, serve
from ceguan.watch import metrics
from ceguan.words import beijing

if TYPE_CHECKING:
    from ceguan.watch.clockwork import Clockwork, Report

log = logging.getLogger(__name__)

HEARTBEAT = "clockwork.json"
MOST_PAUSE = 60.0
NOTICE_SECONDS = 2.0
SEAL_SECONDS = 3600.0
EVIDENCE_SECONDS = 60.0
SIZES_SECONDS = 600.0


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser("clockwork", help="时钟：把收到的帧写入台账，质控、判定、告警、通知")
    parser.add_argument("--once", action="store_true", help="处理完已收到的帧即退出")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT (or, with --once, until caught up). 0 after a clean end, 2 when another one runs."""
    import django

    django.setup()
    from ceguan.store import LedgerTakenError
    from ceguan.watch.clockwork import Clockwork

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    values = settings.load()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        clockwork = Clockwork(values)
    except LedgerTakenError as error:
        print(error, file=sys.stderr)
        return 2
    gc.freeze()  # what is loaded stays; and a batch makes so many tuples that the default thresholds only cost time
    gc.set_threshold(100_000, 20, 20)
    with clockwork:
        loop = Loop(clockwork, values, stop)
        if not args.once and (problem := loop.tell_prometheus()) is not None:
            print(problem, file=sys.stderr)
            return 2
        return loop.run(once=args.once)


class Loop:
    """Steps, pauses, says what it does. An exception in a step is shown and the next try waits longer each time."""

    def __init__(self, clockwork: Clockwork, values: settings.Settings, stop: threading.Event) -> None:
        self._clockwork = clockwork
        self._settings = values
        self._stop = stop
        self._heartbeat = Heartbeat(values.folder / HEARTBEAT)
        self._falls = 0
        self._sealed_at = 0.0

    def tell_prometheus(self) -> str | None:
        """Serve the metrics if a port is set; the problem in words when it cannot be."""
        exposition = Exposition(metrics.PREFIX, metrics.METRICS, self._heartbeat.counted)
        values = self._settings
        return serve(exposition, values.clockwork_metrics_host, values.clockwork_metrics_port, "clockwork_metrics_port")

    def run(self, once: bool = False) -> int:
        """Returns 0, or with `once` 1 when a step failed."""
        beside = [
            threading.Thread(target=self._beside, args=work, daemon=True)
            for work in (
                ("发送通知", self._notices, NOTICE_SECONDS),
                ("归档作证", self._evidence, EVIDENCE_SECONDS),
                ("记下用量", self._sizes, SIZES_SECONDS),
            )
        ]
        for thread in beside:
            thread.start()
        while not self._stop.is_set():
            report = self._step()
            if once and (report is None or report.caught_up):
                self._stop.set()
                break
            if report is None:
                self._stop.wait(min(MOST_PAUSE, 2.0**self._falls))
            elif report.caught_up:
                self._stop.wait(float(self._settings.clockwork_seconds))
        for thread in beside:
            thread.join(timeout=10)
        self._heartbeat.end()
        return int(once and self._falls > 0)

    def _step(self) -> Report | None:
        now = clock.now()
        try:
            report = self._clockwork.step(now)
            if report.caught_up:
                self._seal(now)
        except Exception as error:  # the loop is the last to hear of it: log, show, back off, go on
            from ceguan.store.refusals import told  # the store is loaded by whoever runs, not by `ceguan --help`

            self._falls += 1
            self._heartbeat.failed(now, told(log, f"时钟这一步失败（连续第 {self._falls} 次）", error))
            return None
        self._falls = 0
        self._heartbeat.beat(now, report, self._clockwork)
        return report

    def _seal(self, now: float) -> None:
        """Seal one file of a month that has become old enough, then look again at the next step; else once an hour."""
        if time.monotonic() - self._sealed_at < SEAL_SECONDS and self._sealed_at:
            return
        path = self._clockwork.store.seal_due(now, int(self._settings.hot_days))
        if path is not None:
            log.info("已封存 %s", path)
        elif not self._let_go(now):
            self._sealed_at = time.monotonic()

    def _let_go(self, now: float) -> bool:
        """One block of what recorded acts have ordered to leave; once all are done the files they were in go, too."""
        from ceguan.watch import forgetting

        if forgetting.lighten_next(self._clockwork.store, now):
            return True
        swept = self._clockwork.store.sweep(now - forgetting.GRACE_SECONDS)
        if swept:
            log.info("依留痕的决定删去旧的封存文件 %d 个", swept)
        return False

    def _beside(self, what: str, work: Callable[[], object], every: float) -> None:
        """Work in a thread of its own: neither a slow mail server nor hashing may hold up the ledger."""
        from django.db import close_old_connections, connection

        from ceguan.store.refusals import told

        said = ""
        while not self._stop.is_set():
            try:
                close_old_connections()  # one that broke is made anew
                work()
                said = ""
            except Exception as error:  # shown in the log and on the page; the next round tries again
                cause = f"{what}失败：{told(log, f'{what}失败', error)}"
                if cause != said:
                    self._heartbeat.note(clock.now(), cause)
                said = cause
            self._stop.wait(every)
        connection.close()

    def _notices(self) -> None:
        from ceguan.watch import notices

        notices.step(self._settings, clock.now())

    def _evidence(self) -> None:
        from ceguan.watch import evidence

        evidence.step(self._settings, clock.now())

    def _sizes(self) -> None:
        """Once a Beijing day: what each part takes, with the readings of the ledger counted."""
        from ceguan.store import Store, sizes

        folder, now = self._settings.folder, clock.now()
        if sizes.noted_on(folder, now):
            return
        store = Store(folder)
        counted = [part._replace(rows=store.count()) if part.name == "ledger" else part for part in store.measured()]
        sizes.note(folder, counted, now)


class Heartbeat:
    """data/clockwork.json: what the clockwork did last, how far it is behind, what went wrong. Replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._errors: deque[dict[str, str]] = deque(maxlen=20)
        self._recent: deque[tuple[float, int, float]] = deque(maxlen=200)  # (monotonic, readings, busy seconds)
        self._state: dict[str, Any] = {"pid": os.getpid(), "started": time.time(), "steps": 0, "running": True}
        self._totals = dict.fromkeys((*metrics.COUNTED, "new", "same", "changed", "errors", "failed_steps"), 0)
        self._step = Seconds(metrics.STEP_SECONDS)
        self._stepped = 0.0
        self._written = 0.0
        self._backlog = -1

    def beat(self, now: float, report: Report, clockwork: Clockwork) -> None:
        """Record a step; the file is written at least every second and whenever the backlog changes."""
        for name in (*metrics.COUNTED, "new", "same", "changed"):
            self._totals[name] += getattr(report, name)
        self._step.add(report.seconds)
        self._stepped = time.time()
        if report.records:
            self._recent.append((time.monotonic(), report.readings, report.seconds))
        for cause in report.errors:
            self.note(now, cause)
        busy = sum(seconds for _, _, seconds in self._recent)
        self._state |= {
            "at": now,
            "steps": self._state["steps"] + 1,
            "caught_up": report.caught_up,
            "backlog_bytes": report.backlog_bytes,
            "waiting": report.waiting,
            "step_seconds": round(report.seconds, 4),
            "readings_per_second": round(sum(n for _, n, _ in self._recent) / busy) if busy else 0,
            "totals": self._totals,
            "unconfirmed": [[mn, factor, n] for (mn, factor), n in clockwork.unconfirmed.most_common(50)],
            "failing": False,
        }
        if report.backlog_bytes != self._backlog or time.monotonic() - self._written > 1:
            self._backlog = report.backlog_bytes
            self._write()

    def note(self, now: float, cause: str) -> None:
        """Something went wrong: shown with the next beat."""
        self._totals["errors"] += 1
        self._errors.append({"at": f"{beijing(now):%Y-%m-%d %H:%M:%S}", "cause": cause})

    def failed(self, now: float, cause: str) -> None:
        """Record a step that raised."""
        self.note(now, cause)
        self._totals["failed_steps"] += 1
        self._state |= {"at": now, "failing": True}
        self._write()

    def counted(self) -> dict[str, Any]:
        """What `metrics.METRICS` are read from; may be asked from another thread."""
        readings = {fate: self._totals[fate] for fate in ("new", "same", "changed")}
        return self._state | self._totals | {"readings": readings, "step": self._step.state(), "stepped": self._stepped}

    def end(self) -> None:
        """The clockwork stopped as it was told to."""
        self._state["running"] = False
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        content = self._state | {"real": time.time(), "errors": list(self._errors)}
        scratch = self._path.with_suffix(".json.new")
        try:
            scratch.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            scratch.replace(self._path)
        except OSError as error:  # a full disk must not stop the clockwork; the pages see a heart that stands still
            log.error("写不了心跳文件 %s：%s", self._path, error.strerror)
