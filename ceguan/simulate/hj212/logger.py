"""One data logger as the standard says it behaves, without clock and socket: time and frames in, frames out.

What wants an answer goes out one at a time, in the order it came about (2025: new data first, what comes late with
RF=1). Requests are obeyed: 9011, what was asked for, 9012. History is what it has measured since it was switched on.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ceguan.intake.hj212 import commands, sm4
from ceguan.intake.hj212.commands import CommandError
from ceguan.intake.hj212.frame import Frame, framed
from ceguan.intake.hj212.readings import parse_time, write_time
from ceguan.simulate.hj212.faults import Faults
from ceguan.simulate.hj212.values import Measures
from ceguan.simulate.sending import CN, ST, VERSIONS
from ceguan.simulate.weather import DAY, HOUR
from ceguan.words import Kind, PointKind

HEARTBEAT_SECONDS = 60
"""Our own: no source says how often 9015 is sent."""
LATEST = 4 * HOUR
"""Late data wait up to this long."""
MOST_WAITING = 5000
"""Frames a device keeps for a platform that does not answer; the oldest go."""
LARGEST_SEGMENT = 1024
_KINDS = {cn: kind for kind, cn in CN.items()}
_NOTICES = ("2012", "2022")
_INFO = {"i11001": "//{time} 例行巡检，运行正常//", "i12001": "0", "i13001": "1.000"}


@dataclass(slots=True)
class Out:
    """A frame to send. `qn` "": no answer comes. `history`: belongs to a request, so no RF=1 is put on it."""

    qn: str
    head: str
    area: str
    cn: str
    again: bool = False
    history: bool = False
    sends: int = 0


@dataclass(slots=True)
class Setup:
    """What a host may change."""

    password: str
    over_time: float = 10.0
    re_count: int = 3
    interval: int = 60
    minutes: int = 10
    key: bytes | None = field(default=None, repr=False)


class Logger:
    """A device switched on at `start` [UTC epoch s], which remembers what it measured since `since`."""

    def __init__(
        self, model: Measures, mn: str, edition: int, setup: Setup, faults: Faults, chance: random.Random,
        start: float, since: float,
    ) -> None:  # fmt: skip
        self.mn, self.edition, self.setup = mn, edition, setup
        self.obeyed: dict[str, int] = {}
        self._model, self._faults, self._chance = model, faults, chance
        self._start, self._since = start, since
        self._st = ST[PointKind(model.station.kind)]
        self._line: deque[Out] = deque(maxlen=MOST_WAITING)  # what waits for an answer or for its turn
        self._back: deque[Out] = deque(maxlen=MOST_WAITING)  # 2025: what is sent again when nothing new waits
        self._say: deque[Out] = deque()  # at once, without answer
        self._later: list[tuple[float, Out]] = []
        self._clock_set, self._offset = start, 0.0
        self._last_qn = 0
        self._real_time, self._states, self._announced = True, False, False
        self._next = dict.fromkeys(Kind, 0.0)
        self._heartbeat = start + HEARTBEAT_SECONDS
        self._silent_from = start + chance.uniform(0, HOUR) if "silent" in faults.shares else float("inf")
        self._phase = chance.random()
        self._schedule(start)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def due(self) -> float:
        """When `tick` has something to do next [UTC epoch s]."""
        times = [at for kind, at in self._next.items() if kind != Kind.RT or self._real_time]
        times += [at for at, _ in self._later]
        return min(times + [self._heartbeat] * (self.edition == 2025))

    def tick(self, now: float) -> None:
        """Measure and put in line what is due."""
        if now >= self._silent_from:
            self._line.clear()
            self._next = {kind: float("inf") for kind in Kind}
            self._heartbeat = float("inf")
            return
        for at, out in [one for one in self._later if one[0] <= now]:
            self._later.remove((at, out))
            (self._back if self.edition == 2025 else self._line).append(out)
        for kind, at in self._next.items():
            if at <= now and (kind != Kind.RT or self._real_time):
                self._upload(kind, self._interval_of(kind, now), now)
                self._next[kind] = self._after(kind, now)
        if self.edition == 2025 and now >= self._heartbeat:
            self._heartbeat = now + HEARTBEAT_SECONDS
            self._put("9015", "", now, st="91")

    def _schedule(self, now: float) -> None:
        for kind in Kind:
            self._next[kind] = self._after(kind, now)

    def _after(self, kind: Kind, now: float) -> float:
        """When the interval that runs now is over, and a little later, so that devices do not speak all at once."""
        length = self._length(kind)
        if kind == Kind.RT:
            return (int((now - self._phase * length) // length) + 1 + self._phase) * length
        start = int((now + 8 * HOUR) // length) * length - 8 * HOUR
        due = start + self._phase * min(30.0, length / 4)
        return due if due > now else due + length

    def _interval_of(self, kind: Kind, now: float) -> int:
        """Start of the interval just over; real-time data are of this very second."""
        if kind == Kind.RT:
            return int(now)
        length = self._length(kind)
        return int((now + 8 * HOUR) // length) * length - 8 * HOUR - length

    def _length(self, kind: Kind) -> int:
        return {Kind.RT: self.setup.interval, Kind.MINUTE: self.setup.minutes * 60, Kind.HOUR: HOUR, Kind.DAY: DAY}[
            kind
        ]

    def _span(self, kind: Kind) -> int:
        """Seconds that one upload stands for."""
        return self._length(kind)

    def _dated(self, moment: float, now: float) -> float:
        """What the device writes as the beginning of an interval: its clock has cut the interval."""
        return moment + self.clock(now) - now

    def clock(self, now: float) -> float:
        """What the device takes for the time."""
        return now + self._offset + self._faults.ahead(now - self._clock_set)

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────

    def connected(self, now: float) -> None:
        """A connection stands: what was on its way goes again; the first time it announces itself."""
        for out in self._line:
            out.sends = 0
        if self.edition == 2025:  # new data first, what could not be delivered later as re-sent
            kept = [out for out in self._line if out.cn in _KINDS and not out.history]
            for out in kept:
                self._line.remove(out)
                self._back.append(replace(out, again=True))
        if not self._announced and self.edition != 2005:
            self._announced = True
            self._put("2081", f"DataTime={self._stamp(now)};RestartTime={self._stamp(self._start)}", now)
            self._put("1013", "", now, answer=False)

    def next(self) -> Out | None:
        """The frame to send now; it stays first in line until `answered` or `given_up`."""
        if self._say:
            return self._say.popleft()
        if not self._line and self._back:
            self._line.append(self._back.popleft())
        return self._line[0] if self._line else None

    @property
    def waiting(self) -> int:
        return len(self._line) + len(self._back) + len(self._say)

    def answered(self, qn: str) -> bool:
        """An answer came; whether it is that to the first in line, which is done then."""
        if not self._line or self._line[0].qn != qn:
            return False
        self._line.popleft()
        return True

    def sent(self, out: Out) -> None:
        """It has left; without an answer to wait for that is all."""
        out.sends += 1
        if not out.qn and self._line and self._line[0] is out:
            self._line.popleft()

    def raw(self, out: Out) -> bytes:
        """The frame as the device means it. Enciphered where the edition wants it and there is a key."""
        key = self.setup.key if self.edition == 2025 and sm4.covers(out.cn) and out.area else None
        segment = f"{out.head}{'RF=1;' * out.again}CP=&&{out.area}&&"
        return framed(segment.encode(), self._faults.dialect, key)

    def _put(
        self, cn: str, area: str, now: float, *, st: str = "", answer: bool = True, qn: str = "", part: str = "",
        history: bool = False,
    ) -> Out:  # fmt: skip
        """In line, to be answered (9014, or 9013 for a notice)."""
        out = self._out(cn, area, now, st=st, answer=answer, qn=qn, part=part, history=history)
        self._line.append(out)
        return out

    def _out(
        self, cn: str, area: str, now: float, *, st: str = "", answer: bool = True, qn: str = "", part: str = "",
        history: bool = False,
    ) -> Out:  # fmt: skip
        qn = qn or self._number(now)
        flag = VERSIONS[self.edition] | answer | (2 if part else 0)
        head = f"QN={qn};ST={st or self._st};CN={cn};PW={self.setup.password};MN={self.mn};Flag={flag};{part}"
        return Out(qn, head, area, cn, history=history)

    def _number(self, now: float) -> str:
        """A QN of its own: the device's time, each at least a millisecond after the one before."""
        self._last_qn = max(int(self.clock(now) * 1000), self._last_qn + 1)
        return f"{write_time(self._last_qn // 1000)}{self._last_qn % 1000:03d}"

    def _stamp(self, now: float) -> str:
        return write_time(self.clock(now))

    def _upload(self, kind: Kind, moment: int, now: float) -> None:
        if self._faults.happens("gaps", self._chance) or moment + self._length(kind) <= self._since:
            return
        for out in self._messages(kind, moment, now):
            if kind != Kind.RT and self._faults.happens("late", self._chance):
                out.again = self.edition == 2025
                self._later.append((now + self._chance.uniform(60, LATEST), out))
            else:
                self._line.append(out)

    def _messages(self, kind: Kind, moment: int, now: float, *, history: bool = False) -> Iterator[Out]:
        """The upload of an interval, in parts where it is too long or the fault says so."""
        at = write_time(self._dated(moment, now))
        items = self._model.area(kind, moment).split(";")
        pieces = _cut(items, 2 if self._faults.happens("parts", self._chance) else 1)
        for number, piece in enumerate(pieces, 1):
            width = 4 if self.edition == 2005 else 1
            part = f"PNUM={len(pieces):0{width}d};PNO={number:0{width}d};" if len(pieces) > 1 else ""
            yield self._out(CN[kind], f"DataTime={at};{';'.join(piece)}", now, part=part, history=history)

    # ── hearing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, frame: Frame, now: float) -> bool:
        """A good frame of the platform. Whether it is an answer to what was first in line."""
        if frame.cn in ("9013", "9014"):
            return self.answered(str(frame.qn or frame.cp.get("QN") or ""))
        if now < self._silent_from and frame.cn and frame.cn < "9000":
            self._request(frame, now)
        return False

    def _request(self, frame: Frame, now: float) -> None:
        cn, qn = str(frame.cn), str(frame.qn or "")
        self.obeyed[cn] = self.obeyed.get(cn, 0) + 1
        if cn in _NOTICES:
            self._real_time &= cn != "2012"
            self._states &= cn != "2022"
            self._answer("9013", {}, qn, now)
            return
        refused = self._refusal(frame)
        self._answer("9011", {"QnRtn": refused or "1"}, qn, now)
        if not refused:
            result = self._obey(frame, now)
            self._put_result(result, qn, now)
            if result == "1":
                self._renew(frame)

    def _refusal(self, frame: Frame) -> str:
        """QnRtn of a request that is not for us or unknown to the edition; "" for one to obey."""
        if frame.pw != self.setup.password:
            return "3"
        if frame.mn != self.mn:
            return "2" if self.edition == 2005 else "4"
        if frame.cn not in commands.of_edition(str(self.edition)):
            return "2" if self.edition == 2005 else "8"
        return ""

    def _obey(self, frame: Frame, now: float) -> str:
        """Do it; the ExeRtn."""
        cn = str(frame.cn)
        given = {
            "PolId" if name == "PolID" else name: value if isinstance(value, str) else " ".join(value)
            for name, value in frame.cp.items()
        }  # HJ/T 212-2005 附录C prints PolId for 1021 and PolID for 3011
        info = next(((code, fields["Info"]) for code, fields in frame.factors.items() if "Info" in fields), None)
        if info:
            given |= {"InfoId": info[0], "Info": info[1]}
        command = commands.of_edition(str(self.edition)).get(cn)
        codes = [item.sent for item in self._model.station.items]
        try:
            values = commands.check(command, given, codes) if command is not None and command.sendable else given
        except CommandError:
            return "2" if self.edition == 2005 else "3"
        if cn in _KINDS and cn != "2011":
            return self._history(_KINDS[cn], values, now)
        if cn in ("2041", "2062"):
            return "100"  # no treatment facility, no automatic check at this point
        self._set(cn, values, now)
        brings = self._brings(cn, values, now)
        if brings:
            self._put(cn, brings, now, qn=str(frame.qn), history=True)
        return "1"

    def _history(self, kind: Kind, values: dict[str, str], now: float) -> str:
        """Every interval within the span that is over and remembered, each with a QN of its own."""
        begin, end = (parse_time(values.get(name)) for name in ("BeginTime", "EndTime"))
        length, found = self._length(kind), 0
        if begin is None or end is None:
            begin = end = self._interval_of(kind, now)
        first = max(begin, int(self._since))
        moment = -(-(first + 8 * HOUR) // length) * length - 8 * HOUR
        while moment <= min(end, now - self._span(kind)):
            if self._remembers(kind, moment):
                self._line.extend(self._messages(kind, moment, now, history=True))
                found += 1
            moment += length
        return "1" if found else "100"

    def _remembers(self, kind: Kind, moment: int) -> bool:
        """Whether an interval since it was switched on is still known."""
        return True

    def _set(self, cn: str, values: dict[str, str], now: float) -> None:
        setup = self.setup
        if cn == "1000":
            setup.over_time, setup.re_count = float(values["OverTime"]), int(values["ReCount"])
        elif cn == "1012" and (moment := parse_time(values.get("SystemTime"))) is not None:
            self._clock_set, self._offset = now, 0.0 if abs(moment - now) < 2 else moment - now
        elif cn == "1062":
            setup.interval = int(values["RtdInterval"])
        elif cn == "1064":
            setup.minutes = int(values["MinInterval"])
        elif cn in ("2011", "2021"):
            self._real_time |= cn == "2011"
            self._states |= cn == "2021"
        if cn in ("1062", "1064", "2011"):
            self._schedule(now)

    def _brings(self, cn: str, values: dict[str, str], now: float) -> str:
        """The data area a request is answered with; "" for one that only has a result."""
        pol, at = values.get("PolId", ""), self._stamp(now)
        told = {
            "1011": f"{f'PolId={pol};' * bool(pol)}SystemTime={at}",
            "1061": f"RtdInterval={self.setup.interval}",
            "1063": f"MinInterval={self.setup.minutes}",
            "3015": f"DataTime={at};VaseNo=1",
            "3017": f"PolId={pol};CstartTime=000000;Ctime=2",
            "3018": f"PolId={pol};Stime=30",
            "3019": f"PolId={pol};{pol}-SN={self.mn}{pol}",
        }
        if cn == "3020":
            code = values.get("InfoId", "i11001")
            text = _INFO.get(code, "0").format(time=f"{at[:4]}-{at[4:6]}-{at[6:8]}")
            return f"DataTime={at};{f'PolId={pol};' * bool(pol)}{code}-Info={text}"
        if cn == "2021":
            return f"DataTime={at};SB1-RS=1"
        return told.get(cn, "")

    def _put_result(self, result: str, qn: str, now: float) -> None:
        """9012 behind what was asked for; a new password or key holds from then on."""
        out = self._interaction("9012", {"ExeRtn": result}, qn, now)
        (self._line if self._line else self._say).append(out)

    def _renew(self, frame: Frame) -> None:
        """Take over the password of a 1072 or the key of a 1014 (2025); the result still went with the old one."""
        if frame.cn == "1072":
            self.setup.password = str(frame.cp.get("NewPW") or frame.cp.get("PW") or self.setup.password)
        elif frame.cn == "1014" and frame.cp.get("NewSK"):
            self.setup.key = str(frame.cp["NewSK"]).encode()

    def _answer(self, cn: str, returned: dict[str, str], qn: str, now: float) -> None:
        self._say.append(self._interaction(cn, returned, qn, now))

    def _interaction(self, cn: str, returned: dict[str, str], qn: str, now: float) -> Out:
        """9011, 9012, 9013: the request's QN in the head, in edition 2005 in the data area."""
        old = self.edition == 2005
        fields = {"QN": qn, **returned} if old else returned
        head = (
            f"{'' if old else f'QN={qn};'}ST=91;CN={cn};PW={self.setup.password};MN={self.mn};"
            f"Flag={VERSIONS[self.edition]};"
        )
        return Out("", head, ";".join(f"{name}={value}" for name, value in fields.items()), cn)


def _cut(items: list[str], least: int) -> list[list[str]]:
    """The items in so many pieces, or more where a piece would not fit into a segment."""
    room = LARGEST_SEGMENT - 200
    each = max(1, -(-len(items) // least))
    pieces: list[list[str]] = [[]]
    for item in items:
        if pieces[-1] and (len(pieces[-1]) >= each or len(";".join([*pieces[-1], item])) > room):
            pieces.append([])
        pieces[-1].append(item)
    return pieces
