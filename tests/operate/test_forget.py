"""`ceguan store forget`: deleting is a recorded act, refused before the period is over and for what is still needed."""

import json
from datetime import UTC, datetime

import pytest

from ceguan.cases.models import Case
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device
from ceguan.store import ArchiveWriter, RecordKind, archive, forgotten, proofs
from ceguan.store.verify import verify
from ceguan.watch import forgetting
from ceguan.watch.models import Finding
from tests.operate.test_serve import ceguan
from tests.watch.world import HOUR, World, at

OLD = at("2020-03-10 00:00")
YOUNG = at("2026-03-10 00:00")
ASKED = ("store", "forget", "--kind", "archive", "--before", "2021-01-01", "--why", "磁盘将满")


@pytest.fixture
def world(city, data):
    """In small segments: stream 0 an outlet in 2020, stream 1 an air station in 2020, stream 2 the outlet in 2026."""
    world = World(data)
    for stream in (0, 1, 2):
        world.writers[stream] = ArchiveWriter(data / "archive", stream, 700)
    for hour in range(24):
        send(world, 0, "MNGAS_OUTLET", OLD + hour * HOUR, {"a21026": 30.0 + hour})
        send(world, 1, "MNAIR", OLD + hour * HOUR, {"a21026": 30.0})
        send(world, 2, "MNGAS_OUTLET", YOUNG + hour * HOUR, {"a21026": 30.0})
    settle(world)
    Finding.objects.update(state="ended")
    yield world
    world.close()


def send(world, stream, mn, ts, values):
    from tests.watch.world import frame

    return world.append(RecordKind.FRAME, ts + HOUR + 60, frame(mn, "hour", ts, values), stream)


def settle(world):
    world.step(at("2026-11-20 00:00"))
    world.restart()
    proofs.prove_all(world.folder / "archive", 1.0, "sha256")


def sealed(world, stream):
    return [line.segment for line in archive.sealed_segments(world.folder / "archive", stream)]


def present(world, stream):
    return archive.segments(archive.stream_folder(world.folder / "archive", stream))


def test_first_it_only_says_what_would_go_by_which_clause_and_what_stays_and_why(world):
    done = ceguan(*ASKED, data=world.folder)
    assert (done.returncode, done.stderr) == (0, "")
    count, air = len(sealed(world, 0)), len(sealed(world, 1))
    assert count >= 3
    assert f"可删 {count} 段" in done.stdout
    assert "依据：排污许可管理条例 第十九条、生态环境监测条例 第二十六条，至少 60 个月" in done.stdout
    assert f"不删 {air} 段：含公共监测或未接入设备的报文" in done.stdout
    assert "什么也没有删" in done.stdout
    assert present(world, 0)[0] == 0
    assert not AuditEvent.objects.filter(action="store.forget").exists()


def test_the_act_is_on_record_before_the_files_go_and_everything_still_holds(world):
    store, streams = world.store, {stream: present(world, stream) for stream in (1, 2)}
    gone, every = sealed(world, 0), list(range(1, 60))
    before = store.readings(every, 2, OLD, OLD + 24 * HOUR).select(("series", "ts", "value", "frame")).to_pylist()
    heads = ceguan("archive", "head", data=world.folder).stdout
    done = ceguan(*ASKED, "--by", "leader", "--yes", data=world.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"并删除 {len(gone)} 段" in done.stdout
    event = AuditEvent.objects.get(action="store.forget")
    assert (event.who.username, event.subject, event.reason) == ("leader", "archive", "磁盘将满")
    assert event.detail["rule"] == "排污许可管理条例 第十九条、生态环境监测条例 第二十六条"
    (one,) = event.detail["streams"]
    assert one["segments"] == [[0, gone[-1]]]
    assert audit.verify() is None
    assert present(world, 0) == [gone[-1] + 1]
    assert {stream: present(world, stream) for stream in (1, 2)} == streams
    (world.folder / "heads").write_text(heads)
    for command in (
        ("archive", "verify", "--full", "--heads", world.folder / "heads"),
        ("ledger", "verify"),
        ("audit",),
    ):
        done = ceguan(*command, data=world.folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert f"其中 {len(gone)} 段已依留痕的决定删除" in ceguan("archive", "verify", data=world.folder).stdout
    after = store.readings(every, 2, OLD, OLD + 24 * HOUR).select(("series", "ts", "value", "frame")).to_pylist()
    assert (len(after), after) == (48, before), "what was made of the frames is still here"
    assert "可删 0 段" in ceguan(*ASKED, "--yes", data=world.folder).stdout
    assert AuditEvent.objects.filter(action="store.forget").count() == 1


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (("--before", "2026-04-01"), "要求至少 60 个月，2026-03-31 收到的自 2031-04-01 起才可删除"),
        (("--before", "last year"), "应如 2021-01-01"),
        (("--why", " "), "理由"),
        (("--by", "nobody"), "没有用户 nobody"),
        (("--by", "analyst"), "删除保存期已满的数据"),
    ],
)
def test_too_early_without_a_reason_or_without_the_right_it_is_refused(world, changed, cause):
    done = ceguan(*ASKED, *changed, "--yes", data=world.folder)
    assert done.returncode == 2
    assert cause in done.stderr
    assert present(world, 0)[0] == 0
    assert not AuditEvent.objects.filter(action="store.forget").exists()


def test_the_bureaus_own_period_lets_public_monitoring_go_once_it_is_over(world):
    count = len(sealed(world, 0)) + len(sealed(world, 1))
    done = ceguan(*ASKED, data=world.folder, CEGUAN_PUBLIC_KEEP_MONTHS="72")
    assert f"可删 {count} 段" in done.stdout
    assert "依据：本局设置 public_keep_months，至少 72 个月" in done.stdout
    done = ceguan(*ASKED, data=world.folder, CEGUAN_PUBLIC_KEEP_MONTHS="120")
    assert f"不删 {len(sealed(world, 1))} 段：保存期未满（120 个月）" in done.stdout


def test_what_an_open_case_or_finding_rests_on_stays_until_it_is_closed(world, city):
    finding = Finding.objects.create(
        point=city.points["gas_outlet"], rule="limit-hour:a21026", title_zh="超标", first_at=moment(OLD + 20 * HOUR),
        last_at=moment(OLD + 21 * HOUR), made_at=moment(OLD),
    )  # fmt: skip
    assert f"是 发现 {finding.pk} 的证据" in ceguan(*ASKED, data=world.folder).stdout
    case = Case.objects.create(
        number="云环罚〔2020〕7号", procedure="penalty", title="超标", point=finding.point, region=finding.point.region,
        state="open", opened_at=moment(OLD + 30 * HOUR),
    )  # fmt: skip
    case.findings.add(finding)
    Finding.objects.update(state="case")
    said = ceguan(*ASKED, data=world.folder).stdout
    assert "可删 0 段" in said
    assert "是 案件 云环罚〔2020〕7号 的证据" in said
    Case.objects.update(closed_at=moment(YOUNG))
    Finding.objects.update(state="ended")
    assert f"可删 {len(sealed(world, 0))} 段" in ceguan(*ASKED, data=world.folder).stdout


def moment(ts):
    return datetime.fromtimestamp(ts, UTC)


def test_decisions_strangers_and_what_was_bent_stay(world):
    for stream, number in ((0, 5), (1, 6)):
        world.writers[10 + stream] = ArchiveWriter(world.folder / "archive", 10 + stream, 700)
        for hour in range(12):
            if stream:
                world.append(RecordKind.DECISION, OLD + hour, b"{}" * 200, 11)
            else:
                send(world, 10, "STRANGER", OLD + (number + hour) * HOUR, {"a21026": 1})
    settle(world)
    Device.objects.create(mn="STRANGER", point=Device.objects.get(mn="MNGAS_OUTLET").point, take_held=False)
    path = archive.segment_path(archive.stream_folder(world.folder / "archive", 0), 1)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    said = ceguan(*ASKED, data=world.folder).stdout
    for cause in (
        "含审核、放行或导入的记录：永久保存",
        "有待接入或隔离中的报文，尚无人处理",
        "归档流 0 段 1 与封存时的 SHA-256 不符",
    ):
        assert cause in said, said


def test_an_act_that_was_interrupted_is_finished_by_the_clockwork_or_by_the_next_call(world):
    home = world.folder / "archive"
    going = list(forgotten.candidates(home, 0, archive.Position(99, 0), at("2021-01-01 00:00")))
    what = {"before": "2021-01-01", **forgetting.segments(home, going)}
    forgetting.order(None, "local:test", "archive", "规则", "磁盘将满", what, 1_795_000_000.0)
    assert f"{len(going)} 段，时钟会接着删" in ceguan("store", "status", data=world.folder).stdout
    assert verify(home, 0).broken is None
    archive.segment_path(archive.stream_folder(home, 0), 0).unlink()
    assert "段文件不在了" in str(verify(home, 0).broken), "ordered is not yet written down: not deleted by the act"


def test_the_clockwork_finishes_what_was_ordered(world):
    home = world.folder / "archive"
    going = list(forgotten.candidates(home, 0, archive.Position(99, 0), at("2021-01-01 00:00")))
    forgetting.order(None, "x", "archive", "规则", "y", forgetting.segments(home, going), 1_795_000_000.0)
    from ceguan.watch import evidence

    evidence.step(world.settings, at("2026-11-20 00:00"))
    assert present(world, 0) == [going[-1].sealed.segment + 1]
    assert forgetting.unfinished(world.settings) == 0
    assert verify(home, 0).broken is None


def test_a_line_that_no_act_accounts_for_is_found_out(world):
    assert ceguan(*ASKED, "--yes", data=world.folder).returncode == 0
    home = archive.stream_folder(world.folder / "archive", 1)
    book = archive.stream_folder(world.folder / "archive", 0) / forgotten.NAME
    line = json.loads(book.read_text().splitlines()[0])
    seal = archive.sealed_segments(world.folder / "archive", 1)[0]
    (home / forgotten.NAME).write_text(json.dumps(line | {"stream": 1, "segment": 0, "sha256": seal.sha256}) + "\n")
    archive.segment_path(home, 0).unlink()
    done = ceguan("archive", "verify", data=world.folder)
    assert done.returncode == 1
    assert "归档流 1 段 0 记为已删除，留痕中却没有" in done.stdout
