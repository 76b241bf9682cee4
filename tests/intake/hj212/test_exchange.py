"""An exchange ends in exactly one outcome, in bounded time, after at most 1 + ReCount sends, whatever the line does."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from ceguan.intake.hj212 import commands
from ceguan.intake.hj212.exchange import Accepted, Brought, End, Ended, Exchange, Request, Send, answered
from ceguan.intake.hj212.frame import decode, encode

QN, MN, NOW = "20160801085857223", "010000A8900016F000169DC0", 1_780_000_000.0
HISTORY = {"BeginTime": "20160801080000", "EndTime": "20160801100000"}


def request(cn="1011", edition="2017", values=None, **more) -> Request:
    return Request(MN, "32", "123456", QN, commands.find(cn, edition), values or {}, **more)


def exchange(cn="1011", edition="2017", values=None, over_time=10, re_count=3, **more) -> Exchange:
    made = Exchange(request(cn, edition, values), over_time, re_count, **more)
    made.start(0.0, NOW)
    return made


def answer(cn, edition="2017", qn=QN, **cp):
    """An answer in the form of its edition: 2005 has the QN of the request in the data area."""
    given = {name: str(value) for name, value in cp.items()}
    if edition == "2005":
        return decode(encode(st="91", cn=cn, pw="123456", mn=MN, flag=0, cp={"QN": qn} | given))
    return decode(encode(st="91", cn=cn, pw="123456", mn=MN, flag=4, qn=qn, cp=given))


def upload(cn, datatime=None, qn="20160801090000001", **cp):
    return decode(encode(st="32", cn=cn, pw="123456", mn=MN, flag=5, qn=qn, datatime=datatime, cp=cp))


@pytest.mark.parametrize(
    ("cn", "edition", "values", "segment"),
    [
        ("1011", "2017", {"PolId": "w01018"}, f"QN={QN};ST=32;CN=1011;PW=123456;MN={MN};Flag=5;CP=&&PolId=w01018&&"),
        ("2061", "2005", HISTORY,
         f"QN={QN};ST=32;CN=2061;PW=123456;MN={MN};Flag=1;CP=&&BeginTime=20160801080000,EndTime=20160801100000&&"),
        ("3024", "2025", {"PolId": "w01018"}, f"QN={QN};ST=32;CN=3024;PW=123456;MN={MN};Flag=9;CP=&&PolId=w01018&&"),
    ],
)  # fmt: skip
def test_a_request_is_framed_as_its_edition_prints_it(cn, edition, values, segment):
    frame = request(cn, edition, values).frame(NOW)
    assert frame[6:-6] == segment.encode()
    assert decode(frame).ok


def test_the_printed_request_of_table_c2_comes_out_byte_by_byte():
    assert request("1011", values={"PolId": "w01018"}).frame(NOW) == (
        f"##0099QN={QN};ST=32;CN=1011;PW=123456;MN={MN};Flag=5;CP=&&PolId=w01018&&5A00\r\n".encode()
    )


def test_the_clock_is_set_to_the_time_of_each_send():
    made = Exchange(request("1012"), 10, 3)
    first, again = made.start(0, NOW)[0], made.tick(10, NOW + 10)[0]
    assert [decode(one.data).cp["SystemTime"][-2:] for one in (first, again)] == ["40", "50"]


def test_a_new_key_leaves_enciphered_or_not_at_all():
    values = {"SKCreateTime": "20260101000000", "NewSK": "0123456789abcdef"}
    frame = request("1014", "2025", values, key=b"0" * 16).frame(NOW)
    assert b"0123456789abcdef" not in frame
    assert decode(frame, key=b"0" * 16).cp["SKCreateTime"] == "20260101000000"
    with pytest.raises(ValueError, match="加密"):
        request("1014", "2025", values).frame(NOW)


@pytest.mark.parametrize("edition", commands.EDITIONS)
def test_request_answer_data_result(edition):
    talk = exchange("1011", edition)
    assert talk.heard(answer("9011", edition, QnRtn=1), 1) == [Accepted("QnRtn:1")]
    assert isinstance(talk.heard(upload("1011", SystemTime="20160801085857"), 2)[0], Brought)
    assert talk.heard(answer("9012", edition, ExeRtn=1), 3) == [Ended(End.DONE, "ExeRtn:1")]


@pytest.mark.parametrize("row", [pytest.param(r, id="-".join(k)) for k, r in commands.returns().items()])
def test_each_return_code_of_each_edition_ends_or_opens_the_exchange(row):
    talk = exchange("1062" if row.edition != "2005" else "1061", row.edition, {"RtdInterval": "30"})
    cn = "9011" if row.kind == "QnRtn" else "9012"
    got = talk.heard(answer(cn, row.edition, **{row.kind: row.code}), 1)[0]
    if row.kind == "QnRtn":
        expected = Accepted("QnRtn:1") if row.code == "1" else Ended(End.REFUSED, f"QnRtn:{row.code}")
    else:
        expected = Ended(End.DONE if row.code == "1" else End.FAILED, f"ExeRtn:{row.code}")
    assert got == expected


def test_without_an_answer_the_same_request_is_sent_again_and_then_given_up():
    talk = exchange("1062", values={"RtdInterval": "30"})
    sends = [talk.tick(at, NOW) for at in (9.9, 10, 19.9, 20, 30, 39.9)]
    assert [len(one) for one in sends] == [0, 1, 0, 1, 1, 0]
    assert {one[0].data for one in sends if one} == {talk.request.frame(NOW)}
    assert [one[0].attempt for one in sends if one] == [2, 3, 4]
    assert talk.tick(40, NOW) == [Ended(End.TIMEOUT, "no_answer")]
    assert talk.tick(99, NOW) == []


def test_after_the_request_answer_nothing_is_sent_again():
    talk = exchange("3012", values={"PolId": "w01018"})
    talk.heard(answer("9011", QnRtn=1), 5)
    assert talk.tick(14.9, NOW) == []
    assert talk.tick(15, NOW) == [Ended(End.FAILED, "no_result")]
    assert talk.sends == 1


def test_history_is_what_lies_in_the_span_and_each_part_gives_time_anew():
    talk = exchange("2061", values=HISTORY)
    talk.heard(answer("9011", QnRtn=1), 1)
    assert talk.heard(upload("2061", "20160801070000"), 2) == [], "a regular upload of another hour"
    assert isinstance(talk.heard(upload("2061", "20160801080000"), 8)[0], Brought)
    assert isinstance(talk.heard(upload("2061", "20160801090000"), 17)[0], Brought)
    assert talk.tick(26.9, NOW) == []
    assert talk.heard(answer("9012", ExeRtn=1), 26.9) == [Ended(End.DONE, "ExeRtn:1")]
    assert talk.uploads == 2


def test_data_without_a_request_answer_mean_that_it_was_accepted():
    talk = exchange("2061", values=HISTORY)
    assert talk.heard(upload("2061", "20160801080000"), 2)[0] == Accepted("data")
    assert talk.tick(12, NOW) == [Ended(End.FAILED, "no_result")]


def test_the_one_thing_asked_for_is_enough_when_no_result_follows():
    talk = exchange("1061")
    talk.heard(upload("1061", RtdInterval="30"), 2)
    assert talk.tick(12, NOW) == [Ended(End.DONE, "data_only")]


def test_uploads_without_end_are_given_up():
    talk = exchange("2061", values=HISTORY, longest=60)
    talk.heard(answer("9011", QnRtn=1), 0)
    for at in range(5, 60, 5):
        assert len(talk.heard(upload("2061", "20160801080000"), at)) == 1
    assert talk.tick(60, NOW) == [Ended(End.FAILED, "too_long")]


def test_a_notice_is_done_when_it_is_answered():
    talk = exchange("2012")
    assert talk.heard(answer("9013", qn="20160801085857999"), 1) == []
    assert talk.heard(answer("9013"), 1) == [Ended(End.DONE, "noticed")]


def test_what_belongs_to_another_exchange_or_device_changes_nothing():
    talk = exchange("1062", values={"RtdInterval": "30"})
    assert talk.heard(answer("9012", qn="20160801085857224", ExeRtn=1), 1) == []
    other = decode(encode(st="91", cn="9012", mn="OTHER", qn=QN, flag=4, cp={"ExeRtn": "1"}))
    assert talk.heard(other, 1) == []
    assert talk.heard(answer("9013"), 1) == []
    assert talk.heard(answer("9011"), 1) == [], "no code in it"


def test_the_qn_of_an_answer_is_found_in_head_and_area():
    assert answered(answer("9011", "2005", QnRtn=1)) == {QN}
    assert answered(answer("9011", "2017", QnRtn=1)) == {QN}


# ── whatever the line does ────────────────────────────────────────────────────────────────────────────────────────


class Conversation(RuleBasedStateMachine):
    """A line that loses, repeats, reorders and delays; a device that may say anything at any time."""

    wire = Bundle("wire")

    @initialize(
        cn=st.sampled_from(["1011", "1062", "2012", "2061", "3012", "3015", "2011"]),
        over_time=st.integers(1, 99), re_count=st.integers(0, 99),
    )  # fmt: skip
    def begin(self, cn, over_time, re_count):
        given = {"1062": {"RtdInterval": "30"}, "2061": HISTORY, "3012": {"PolId": "w01018"}}.get(cn, {})
        self.talk = Exchange(request(cn, values=given), over_time, re_count, longest=500)
        self.over_time, self.re_count, self.at = over_time, re_count, 0.0
        self.sends, self.outcomes, self.accepted, self.after, self.sent_after = 0, [], 0, [], 0
        self.do(self.talk.start(0.0, NOW))

    def do(self, actions):
        if self.outcomes:
            self.after += actions
        for action in actions:
            self.sends += isinstance(action, Send)
            self.sent_after += isinstance(action, Send) and bool(self.accepted)
            self.accepted += isinstance(action, Accepted)
            if isinstance(action, Ended):
                self.outcomes.append(action)

    @rule(
        target=wire, kind=st.sampled_from(["9011", "9012", "9013", "9014"]), code=st.sampled_from(["1", "2", "9", ""]),
        mine=st.booleans(), edition=st.sampled_from(["2005", "2017"]),
    )  # fmt: skip
    def device_answers(self, kind, code, mine, edition):
        name = "ExeRtn" if kind == "9012" else "QnRtn"
        return answer(kind, edition, qn=QN if mine else "20160801085857999", **{name: code})

    @rule(target=wire, cn=st.sampled_from(["1011", "2011", "2061", "3015"]), hour=st.integers(6, 12))
    def device_uploads(self, cn, hour):
        return upload(cn, f"20160801{hour:02}0000")

    @rule(frame=wire)
    def arrives(self, frame):
        """Frames stay in the bundle: they come again, in any order, or never."""
        self.do(self.talk.heard(frame, self.at))

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds):
        self.at += seconds
        self.do(self.talk.tick(self.at, NOW))

    @precondition(lambda self: self.at > 0)
    @rule()
    def connection_goes(self):
        self.do(self.talk.lost())

    @invariant()
    def never_two_outcomes_and_nothing_after_the_end(self):
        assert len(self.outcomes) <= 1
        assert self.after == []
        assert self.accepted <= 1

    @invariant()
    def never_more_sends_than_allowed(self):
        assert self.sends <= 1 + self.re_count

    @invariant()
    def nothing_is_sent_again_once_it_was_accepted(self):
        assert self.sent_after == 0

    def teardown(self):
        """Left alone, it ends, in bounded time."""
        if not hasattr(self, "talk"):
            return
        patience = self.at + (2 + self.re_count) * self.over_time + 500
        while not self.outcomes:
            assert self.talk.due <= patience
            self.at = max(self.at, self.talk.due)
            self.do(self.talk.tick(self.at, NOW))
        assert len(self.outcomes) == 1
        assert self.sends <= 1 + self.re_count


Conversation.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_whatever_the_line_does = Conversation.TestCase
