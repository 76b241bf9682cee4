"""`ceguan ledger verify`: nobody bends the ledger unseen, by whatever way into the database."""

from __future__ import annotations

from ceguan.registry.models import Series
from ceguan.store import Decision, Store
from ceguan.store.sqlite import Connection
from ceguan.web import decisions
from ceguan.words import FrameRef, Kind
from tests.operate.test_serve import ceguan
from tests.watch.world import HOUR, World, at

NOON = at("2026-03-10 12:00")
LATER = NOON + 6 * HOUR


def decided(city, data, taken_in: int = 2) -> list[FrameRef]:
    """Two decisions of an analyst, so many of them taken in; where they lie in the archive."""
    series = Series.objects.get(point=city.points["gas_outlet"], factor="a21026")
    world = World(data)
    for hour in range(3):
        world.send("MNGAS_OUTLET", "hour", NOON + hour * HOUR, {"a21026": 30.0})
    refs = []
    for number in range(2):
        if number == taken_in:
            world.step(LATER)
        span = (NOON + number * HOUR, NOON + (number + 1) * HOUR)
        refs.append(
            decisions.decide(
                city.users["analyst"],
                series,
                Kind.HOUR,
                *span,
                "invalidate",
                "校准期间",
                "",
                None,
                None,
                LATER + number,
            )
        )
    if taken_in == 2:
        world.step(LATER)
    world.close()
    return refs


def verified(data) -> tuple[int, list[str]]:
    done = ceguan("ledger", "verify", data=data)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def behind_the_triggers(data, *statements: str) -> None:
    """Somebody with the rights of the database's owner, who puts the triggers back in their place."""
    with Store(data, write=True) as store:
        db = store.ledger.connection
        if not isinstance(db, Connection):
            sql = [
                "ALTER TABLE decision DISABLE TRIGGER ALL", *statements, "ALTER TABLE decision ENABLE TRIGGER ALL"
            ]  # fmt: skip
            for one in sql:
                db.execute(one)
            return
        find = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'decision'"
        triggers = db.execute(find).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for one in statements:
            db.execute(one)
        for _, sql in triggers:
            db.execute(sql)


def test_decisions_that_came_of_people_hold_also_those_still_on_their_way(city, data):
    decided(city, data, taken_in=1)
    code, (said,) = verified(data)
    assert code == 0
    assert said.startswith("台账完好：认定 1 条成链，")


def test_a_decision_cut_off_the_end_of_the_chain_is_missed_by_the_audit_trail(city, data):
    decided(city, data)
    assert verified(data)[0] == 0
    behind_the_triggers(data, "DELETE FROM decision WHERE id = 2")
    code, (said,) = verified(data)
    assert code == 1
    assert "不在台账里" in said
    assert "analyst" in said


def test_a_decision_nobody_made_is_found_though_its_hash_follows(city, data):
    (first, _), base = decided(city, data), 10
    series = Series.objects.get(point=city.points["gas_outlet"], factor="a21026")
    forged = Decision(series.pk, 2, NOON, NOON + 9 * HOUR, "keep", "analyst", LATER + base, "复核", first.packed)
    with Store(data, write=True) as store, store.ledger.batch() as batch:
        batch.add_decision(forged)
        batch.add_decision(forged._replace(frame=FrameRef(65, 7, 64).packed))
        row = store.decisions().to_pylist()[0]
        batch.add_decision(Decision(**{name: row[name] for name in Decision._fields}))
    code, said = verified(data)
    assert code == 1
    assert [line[:7] for line in said] == ["认定第 3 条", "认定第 4 条", "认定第 5 条"]
    assert "不符" in said[0]
    assert "没有来处" in said[1]
    assert "重复" in said[2]


def test_a_trigger_that_somebody_took_away_is_missed(city, data):
    with Store(data, write=True) as store:
        db = store.ledger.connection
        here = "" if isinstance(db, Connection) else " ON reading"
        db.execute(f"DROP TRIGGER reading_no_update{here}")
    code, (said,) = verified(data)
    assert code == 1
    assert "触发器 reading_no_update 不在了" in said
