"""`ceguan store forget`: deleting is a recorded act, refused before the period is over and for what is still needed."""

import json
from datetime import UTC, date, datetime

import pytest
from django.test import Client
from django.urls import reverse

from ceguan.cases.models import Case
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device, Permit, PermitLimit
from ceguan.store import ArchiveWriter, RecordKind, Store, archive, forgotten, history, proofs
from ceguan.store.sealed import Leaving
from ceguan.store.verify import verify
from ceguan.watch import forgetting
from ceguan.watch.models import Finding
from tests.operate.test_serve import ceguan
from tests.watch.world import HOUR, World, at, frame

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
        (("--before", "2026-04-01"), "要求至少 60 个月，2026-03-31 的自 2031-04-01 起才可删除"),
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


# ── readings of sealed months ─────────────────────────────────────────────────────────────────────────────────────

MINUTES = ("store", "forget", "--kind", "reading_minute", "--before", "2020-06-01", "--why", "磁盘将满")


@pytest.fixture
def sealed_world(world):
    """Minutes beside the hours of March 2020, of April only minutes, by which the hours were judged; sealed."""
    for ten in range(0, 24 * HOUR, 600):
        for stream, mn in ((0, "MNGAS_OUTLET"), (1, "MNAIR")):
            world.append(RecordKind.FRAME, OLD + ten + 660, frame(mn, "minute", OLD + ten, {"a21026": 30.5}), stream)
    Permit.objects.update(valid_from=date(2019, 1, 1))
    PermitLimit.objects.update(valid_from=date(2019, 1, 1))
    april = at("2020-04-10 00:00")
    for ten in range(0, 6 * HOUR, 600):
        values = {"a21026": {"Avg": "30.5", "ZsAvg": "31.5", "Flag": "N"}}
        world.append(RecordKind.FRAME, april + ten + 660, frame("MNGAS_OUTLET", "minute", april + ten, values), 0)
    settle(world)
    Finding.objects.update(state="ended")
    with Store(world.folder, write=True) as store:
        for month in ("2020-03", "2020-04"):
            store.seal(month, at("2020-08-01 00:00"))
    return world


def minutes(store, point, month):
    series = list(point.series.values_list("pk", flat=True))
    return store.readings(series, 1, *history.month_span(month)).num_rows


def test_minutes_leave_sealed_months_by_an_act_that_the_clockwork_carries_out(sealed_world, city, tmp_path_factory):
    folder, store = sealed_world.folder, sealed_world.store
    outlet, air = city.points["gas_outlet"], city.points["air"]
    done = ceguan(*MINUTES, data=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "可删 1 个月（2020-03 至 2020-03），144 行" in done.stdout
    assert "不删 1 个点位·月：公共监测：没有查到法定期限" in done.stdout
    assert "不删 1 个点位·月：判定直接以它们为据" in done.stdout
    done = ceguan(*MINUTES, "--yes", data=folder)
    assert "由时钟逐块重新封存" in done.stdout
    (one,) = AuditEvent.objects.get(action="store.forget").detail["months"]
    assert (one["month"], one["rows"]) == ("2020-03", 144)
    assert minutes(store, outlet, "2020-03") == 144
    for _ in range(5):
        assert ceguan("clockwork", "--once", data=folder).returncode == 0
    assert [row["rows"] for row in store.forgotten().to_pylist()] == [144]
    assert [minutes(store, outlet, month) for month in ("2020-03", "2020-04")] == [0, 36]
    assert minutes(store, air, "2020-03") == 144
    client = Client()
    client.force_login(city.users["analyst"])
    page = client.get(reverse("point", args=["gas_outlet"]) + "?kind=minute&span=24h&end=2020-03-10").content.decode()
    assert "2020-03 的这类读数已于" in page
    assert "依 排污许可管理条例 第十九条、生态环境监测条例 第二十六条 删除" in page
    with Store(folder, write=True) as writer:
        assert writer.sweep(4e9) == 1
    for command in (("ledger", "verify"), ("archive", "verify"), ("audit",)):
        done = ceguan(*command, data=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    copy = tmp_path_factory.mktemp("backup")
    done = ceguan("backup", copy, data=folder)
    assert done.returncode == 0, done.stderr
    assert "依留痕的决定删去过读数的 1 处" in ceguan("ledger", "verify", data=folder).stdout
    assert "可删 0 个月" in ceguan(*MINUTES, "--yes", data=folder).stdout


def test_what_left_a_month_without_an_act_in_the_audit_trail_is_found_out(sealed_world, city):
    series = tuple(city.points["gas_outlet"].series.values_list("pk", flat=True))
    with Store(sealed_world.folder, write=True) as store:
        act = forgotten.Act("cd" * 32, 1.0, "规则")
        assert store.lighten(Leaving(act, "2020-03", 1, series), 2.0)
    done = ceguan("ledger", "verify", data=sealed_world.folder)
    assert done.returncode == 1
    assert "记为已删除 144 行，留痕中却没有这样的决定" in done.stdout


def test_minutes_stay_while_a_finding_of_their_point_is_open_and_before_their_period_is_over(sealed_world, city):
    done = ceguan(*MINUTES, "--before", "2026-06-01", data=sealed_world.folder)
    assert done.returncode == 2
    assert "保存期未满" in done.stderr
    finding = Finding.objects.create(
        point=city.points["gas_outlet"], rule="x", title_zh="x", first_at=moment(OLD), last_at=moment(OLD),
        made_at=moment(OLD),
    )  # fmt: skip
    said = ceguan(*MINUTES, data=sealed_world.folder).stdout
    assert "可删 0 个月" in said
    assert f"是 发现 {finding.pk} 的证据" in said
