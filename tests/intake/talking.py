"""A data logger that is asked and answers, and waiting for how a command ends."""

from __future__ import annotations

import time

from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.models import Command, State
from tests.intake import gateway as real

MN = "MNGAS_OUTLET"
SLOW = 15.0


class Logger(real.Device):
    """A data logger that is asked and answers."""

    def __init__(self, port, mn=MN, key=None):
        super().__init__(port, mn)
        self.key = key
        self.hello()

    def hello(self):
        """Its first upload makes it known."""
        self.send(self.frame())
        assert self.answer().cn == "9014"

    def asked(self, cn=None, timeout=SLOW):
        """The next request of the host; what the host answers to uploads is passed over."""
        self.socket.settimeout(timeout)
        while (frame := self.answer()) is not None:
            if frame.cn not in ("9013", "9014"):
                assert cn in (None, frame.cn)
                return decode(frame.raw, key=self.key) if self.key else frame
        return None

    def says(self, request, cn, **cp):
        self.send(encode(st="91", cn=cn, mn=self.mn, pw="123456", flag=4, qn=request.qn, cp=cp))

    def brings(self, cn, datatime=None, cp=None, factors=None, qn="20260101000000001"):
        self.send(
            encode(st="31", cn=cn, mn=self.mn, pw="123456", flag=5, qn=qn, datatime=datatime, cp=cp, factors=factors)
        )

    def obeys(self, cn):
        """Request, 9011, 9012."""
        request = self.asked(cn)
        self.says(request, "9011", QnRtn="1")
        self.says(request, "9012", ExeRtn="1")
        return request


def ends(command, state, seconds=SLOW):
    """Wait until the command is in this state; returns it as it then is."""
    until = time.monotonic() + seconds
    while (found := Command.objects.get(pk=command.pk)).state != state:
        assert time.monotonic() < until, f"{found.state} {found.result_code}, not {state}"
        time.sleep(0.03)
    return found


def quick(queue, logger, over_time=1, re_count=2):
    """Set short time-outs in the device, as a person would: command 1000."""
    made = queue("1000", {"OverTime": str(over_time), "ReCount": str(re_count)})
    logger.obeys("1000")
    return ends(made, State.DONE)
