"""The ledger's tables, as a list of migrations: entry n brings a database of version n (PRAGMA user_version) to n + 1.

Never edit a migration that has shipped; append one. Times are UTC epoch seconds; JSON columns hold compact UTF-8 JSON;
NULL in a number column means "the device sent none" (NaN outside).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache


def _append_only(table: str) -> str:
    """Triggers that make the database itself refuse to change or forget rows of a table."""
    return "".join(
        f"""
        CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, '{table}: append-only, {verb} refused'); END;
        """
        for verb in ("UPDATE", "DELETE")
    )


NEWEST_VERDICT = """SELECT rule, point, ts, outcome, value, level, edition, clause, detail, inputs, id, ver
                    FROM verdict v WHERE v.rule = {} AND v.point = {} AND v.ts = {} ORDER BY v.ver DESC LIMIT 1"""
FIRST = (
    """
    -- One row per version of a reading, as received. ver 0 first; a re-sent value that differs is a new version.
    CREATE TABLE reading (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts INTEGER NOT NULL, ver INTEGER NOT NULL,
        value REAL, zs REAL, vmin REAL, vmax REAL, cou REAL, flag TEXT NOT NULL,
        recv INTEGER NOT NULL, frame INTEGER NOT NULL,
        PRIMARY KEY (series, kind, ts, ver)
    ) WITHOUT ROWID;
    CREATE TRIGGER reading_no_update BEFORE UPDATE ON reading
    BEGIN SELECT RAISE(ABORT, 'reading: append-only, UPDATE refused'); END;

    -- Sealed months: which Parquet file holds them. Newest generation is in force, older files stay.
    CREATE TABLE manifest (
        month TEXT NOT NULL, generation INTEGER NOT NULL,
        ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,      -- the month in Beijing time, as [from, to)
        path TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
        sealed_at REAL NOT NULL,
        PRIMARY KEY (month, generation)
    ) WITHOUT ROWID;
    CREATE TRIGGER reading_only_sealed_deleted BEFORE DELETE ON reading
    WHEN NOT EXISTS (SELECT 1 FROM manifest m WHERE OLD.ts >= m.ts_from AND OLD.ts < m.ts_to)
    BEGIN SELECT RAISE(ABORT, 'reading: only rows of a sealed month may leave the ledger'); END;

    -- Newest reading of each series and kind; derived, kept by the writer. A row that changes gets a higher stamp.
    CREATE TABLE latest (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts INTEGER NOT NULL, ver INTEGER NOT NULL,
        value REAL, zs REAL, vmin REAL, vmax REAL, cou REAL, flag TEXT NOT NULL,
        recv INTEGER NOT NULL, frame INTEGER NOT NULL, stamp INTEGER NOT NULL,
        PRIMARY KEY (series, kind)
    ) WITHOUT ROWID;

    -- Outcomes of quality tests other than PASS. A PASS (1) is a row only where it lifts an earlier flag:
    -- the newest `turn` of (series, kind, ts, test) is in force.
    CREATE TABLE flag (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts INTEGER NOT NULL, test TEXT NOT NULL, turn INTEGER NOT NULL,
        ver INTEGER NOT NULL,          -- version of the reading that was tested
        version TEXT NOT NULL,         -- version of the test
        outcome INTEGER NOT NULL, params TEXT NOT NULL, evidence TEXT NOT NULL, made_at REAL NOT NULL,
        PRIMARY KEY (series, kind, ts, test, turn)
    ) WITHOUT ROWID;

    -- What was tested: [ts_from, ts_to) by this test, version and parameters; grows while runs adjoin.
    CREATE TABLE quality_run (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, test TEXT NOT NULL, version TEXT NOT NULL, params TEXT NOT NULL,
        ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL, first_at REAL NOT NULL, made_at REAL NOT NULL,
        PRIMARY KEY (series, kind, test, version, params, ts_from)
    ) WITHOUT ROWID;

    -- Decisions of people about readings, hash-chained: hash = SHA-256(prev_hash + the row as canonical JSON).
    CREATE TABLE decision (
        id INTEGER PRIMARY KEY,
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,  -- [from, to)
        action TEXT NOT NULL CHECK (action IN ('keep', 'invalidate', 'substitute', 'exempt')),
        value REAL, zs REAL,           -- the substitute, and its value converted to reference oxygen
        who TEXT NOT NULL, at REAL NOT NULL, why TEXT NOT NULL, evidence TEXT NOT NULL,
        frame INTEGER NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL,
        CHECK (ts_from < ts_to), CHECK (action != 'substitute' OR value IS NOT NULL)
    );
    CREATE INDEX decision_by_series ON decision (series, kind, ts_from);

    -- Verdicts: a rule applied to readings. A changed verdict is a new version, the old one stays.
    CREATE TABLE verdict (
        id INTEGER PRIMARY KEY,
        point INTEGER NOT NULL, rule TEXT NOT NULL, ts INTEGER NOT NULL, ver INTEGER NOT NULL,
        outcome TEXT NOT NULL, value REAL, level TEXT NOT NULL, edition TEXT NOT NULL, clause TEXT NOT NULL,
        detail TEXT NOT NULL,          -- JSON object
        inputs TEXT NOT NULL,          -- JSON [[series, kind, ts, ver], ...]
        made_at REAL NOT NULL
    );
    CREATE UNIQUE INDEX verdict_by_rule ON verdict (rule, point, ts, ver);
    CREATE INDEX verdict_by_point ON verdict (point, ts);
    CREATE TABLE latest_verdict (
        rule TEXT NOT NULL, point INTEGER NOT NULL, ts INTEGER NOT NULL, id INTEGER NOT NULL,
        PRIMARY KEY (rule, point)
    ) WITHOUT ROWID;

    -- How far each archive stream has been materialised; moves in the same transaction as what came of it.
    CREATE TABLE position (stream INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL);

    CREATE TABLE bad_frame (
        frame INTEGER PRIMARY KEY, recv REAL NOT NULL, source TEXT NOT NULL, mn TEXT NOT NULL,
        error TEXT NOT NULL, size INTEGER NOT NULL
    );
    CREATE INDEX bad_frame_by_recv ON bad_frame (recv);
    CREATE INDEX bad_frame_by_mn ON bad_frame (mn, recv);

    -- Frames of devices nobody has adopted: kept in the archive, waiting here, never counted.
    CREATE TABLE held_frame (mn TEXT NOT NULL, frame INTEGER NOT NULL, recv REAL NOT NULL, PRIMARY KEY (mn, frame))
    WITHOUT ROWID;
    CREATE TABLE unknown_device (
        mn TEXT PRIMARY KEY, first_recv REAL NOT NULL, last_recv REAL NOT NULL, frames INTEGER NOT NULL,
        st TEXT NOT NULL, cns TEXT NOT NULL, factors TEXT NOT NULL, source TEXT NOT NULL
    ) WITHOUT ROWID;

    -- Counters per device and Beijing day.
    CREATE TABLE device_day (
        mn TEXT NOT NULL, day TEXT NOT NULL,
        frames INTEGER NOT NULL, bad INTEGER NOT NULL, late INTEGER NOT NULL, items INTEGER NOT NULL,
        same INTEGER NOT NULL, changed INTEGER NOT NULL,       -- readings sent again: same value, another value
        first_recv REAL NOT NULL, last_recv REAL NOT NULL,
        max_delay REAL NOT NULL, sum_delay REAL NOT NULL,      -- seconds from the end of the interval to reception
        PRIMARY KEY (mn, day)
    ) WITHOUT ROWID;
    CREATE INDEX device_day_by_day ON device_day (day);

    -- Missing intervals [ts_from, ts_to) with their cause; derived, replaced when data arrive late.
    CREATE TABLE gap (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,
        cause TEXT NOT NULL, found_at REAL NOT NULL,
        PRIMARY KEY (series, kind, ts_from)
    ) WITHOUT ROWID;

    -- Small facts the single writer must remember exactly as often as it committed.
    CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """
    + _append_only("manifest")
    + _append_only("flag")
    + _append_only("decision")
    + _append_only("verdict")
    + _append_only("bad_frame")
)

RECEIVING = """
    -- CRC dialects each device has used, adopted or not.
    CREATE TABLE dialect (
        mn TEXT NOT NULL, dialect TEXT NOT NULL, frames INTEGER NOT NULL,
        first_recv REAL NOT NULL, last_recv REAL NOT NULL,
        PRIMARY KEY (mn, dialect)
    ) WITHOUT ROWID;

    -- What is odd about frames that count all the same: how often per device, Beijing day and kind, and the last frame.
    CREATE TABLE warning (
        mn TEXT NOT NULL, day TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL, frame INTEGER NOT NULL,
        PRIMARY KEY (mn, day, kind)
    ) WITHOUT ROWID;
    CREATE INDEX warning_by_day ON warning (day);

    -- Factors a device usually sends, by kind of reading: factor -> how often in a row it came (negative: was missing).
    CREATE TABLE usual (mn TEXT NOT NULL, kind INTEGER NOT NULL, factors TEXT NOT NULL, PRIMARY KEY (mn, kind))
    WITHOUT ROWID;

    -- Good frames whose readings do not count before a person has looked: held, then released or dismissed.
    CREATE TABLE quarantine (
        frame INTEGER PRIMARY KEY, mn TEXT NOT NULL, recv REAL NOT NULL,
        cause TEXT NOT NULL,           -- code:detail, e.g. "dialect:modbus"
        kind INTEGER, ts INTEGER,      -- of the readings in it; NULL where there are none
        items INTEGER NOT NULL,
        parts TEXT NOT NULL,           -- JSON list: all frames of a message in parts
        state TEXT NOT NULL CHECK (state IN ('held', 'released', 'dismissed')),
        who TEXT NOT NULL, at REAL, why TEXT NOT NULL
    );
    CREATE INDEX quarantine_by_mn ON quarantine (mn, recv);
    CREATE INDEX quarantine_held ON quarantine (mn, cause) WHERE state = 'held';
"""

FILLING = """
    -- Missing stretches [ts_from, ts_to) of a device as it is asked for them, and how each ended (watch.fill).
    CREATE TABLE fill (
        mn TEXT NOT NULL, kind INTEGER NOT NULL, ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,
        state TEXT NOT NULL, tries INTEGER NOT NULL,
        command INTEGER,               -- id of the command in the business database that asked last
        changed REAL NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (mn, kind, ts_from)
    ) WITHOUT ROWID;
    CREATE INDEX fill_open ON fill (state) WHERE state IN ('waiting', 'asked');
    CREATE INDEX fill_by_time ON fill (kind, ts_from);
    CREATE INDEX gap_by_time ON gap (kind, ts_from);
"""

KNOWING = """
    -- Frames whose readings count only since a person let them in (device adopted, quarantine released).
    CREATE TABLE admitted (frame INTEGER PRIMARY KEY, at REAL NOT NULL);
    CREATE INDEX admitted_by_time ON admitted (at);
    INSERT INTO admitted SELECT frame, at FROM quarantine WHERE state = 'released';
    INSERT INTO admitted
        SELECT p.value, max(q.at) FROM quarantine q CROSS JOIN json_each(q.parts) p
        WHERE q.state = 'released' AND p.value NOT IN (SELECT frame FROM admitted) GROUP BY p.value;

    -- Gaps as they were known before: [known_at, gone_at). Of a gap in force `known_at` says since when it is as it is.
    ALTER TABLE gap ADD COLUMN known_at REAL NOT NULL DEFAULT 0;
    UPDATE gap SET known_at = found_at;
    CREATE TABLE past_gap (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,
        cause TEXT NOT NULL, found_at REAL NOT NULL, known_at REAL NOT NULL, gone_at REAL NOT NULL
    );
    CREATE INDEX past_gap_by_series ON past_gap (series, kind, ts_from);
"""

BEGINNING = -28800
"""Beijing midnight before which there are no readings (1970)."""
BEHIND_ALL = f"SELECT coalesce((max(ts) + 28800) / 86400 * 86400 + 57600, {BEGINNING}) FROM latest"
"""The Beijing midnight behind the newest reading, BEGINNING without any."""

AGGREGATES = (
    """
    -- Hours, Beijing days and months of the readings in force; derived, see aggregates.py. Only what has readings.
    CREATE TABLE aggregate (
        series INTEGER NOT NULL, kind INTEGER NOT NULL, period INTEGER NOT NULL, ts INTEGER NOT NULL,
        present INTEGER NOT NULL, valid INTEGER NOT NULL, decided INTEGER NOT NULL,
        total REAL NOT NULL, low REAL, high REAL, opening REAL, closing REAL,  -- NULL: nothing valid
        zs_valid INTEGER NOT NULL, zs_total REAL NOT NULL, cou REAL,
        PRIMARY KEY (series, kind, period, ts)
    ) WITHOUT ROWID;

    -- Beijing days of which something came, changed or was decided since their aggregates were computed.
    CREATE TABLE stale (series INTEGER NOT NULL, kind INTEGER NOT NULL, day INTEGER NOT NULL,
        PRIMARY KEY (series, kind, day)) WITHOUT ROWID;
    CREATE INDEX stale_by_day ON stale (day);

    -- Before the Beijing midnight `since` nothing is computed and marked yet: what was there before this table.
    CREATE TABLE aggregated (since INTEGER NOT NULL);
    INSERT INTO aggregated """
    + BEHIND_ALL
    + ";"
)

PARTS = """
    -- A sealed month lies in files by blocks of series, [part, series_to): of each the newest generation is in force.
    -- The files that were there before hold every series of their month.
    DROP TRIGGER reading_only_sealed_deleted;
    CREATE TABLE manifest_in_parts (
        month TEXT NOT NULL, part INTEGER NOT NULL, generation INTEGER NOT NULL,
        ts_from INTEGER NOT NULL, ts_to INTEGER NOT NULL,      -- the month in Beijing time, as [from, to)
        series_to INTEGER NOT NULL,
        path TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
        sealed_at REAL NOT NULL,
        PRIMARY KEY (month, part, generation)
    ) WITHOUT ROWID;
    INSERT INTO manifest_in_parts
        SELECT month, 0, generation, ts_from, ts_to, 4611686018427387904, path, rows, bytes, sha256, sealed_at
        FROM manifest;
    DROP TABLE manifest;
    ALTER TABLE manifest_in_parts RENAME TO manifest;
    CREATE TRIGGER reading_only_sealed_deleted BEFORE DELETE ON reading
    WHEN NOT EXISTS (SELECT 1 FROM manifest m WHERE OLD.ts >= m.ts_from AND OLD.ts < m.ts_to
                     AND OLD.series >= m.part AND OLD.series < m.series_to)
    BEGIN SELECT RAISE(ABORT, 'reading: only rows of a sealed month may leave the ledger'); END;
""" + _append_only("manifest")

LETTING_GO = """
    -- Readings of a kind that left a block of a sealed month by a recorded act (hash of its audit event). `generation`:
    -- the first without them, the files of those before it go; 0 = there was nothing to leave.
    CREATE TABLE forgotten (
        month TEXT NOT NULL, part INTEGER NOT NULL, act TEXT NOT NULL, kind INTEGER NOT NULL,
        members TEXT NOT NULL,         -- JSON [[first, last], ...]: the series
        generation INTEGER NOT NULL, rows INTEGER NOT NULL, rule TEXT NOT NULL, at REAL NOT NULL, made_at REAL NOT NULL,
        PRIMARY KEY (month, part, act)
    ) WITHOUT ROWID;
""" + _append_only("forgotten")


def _no_replace(table: str, *keys: str, how: str = "ABORT, '{}: append-only, REPLACE refused'") -> str:
    """SQLite alone: INSERT OR REPLACE removes the row that is in its way without firing the trigger on DELETE."""
    there = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} o WHERE {' AND '.join(f'o.{name} = NEW.{name}' for name in key.split())})"
        for key in keys
    )
    return f"""
        CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there}
        BEGIN SELECT RAISE({how.format(table)}); END;
        """


NO_REPLACE = (
    _no_replace("decision", "id")
    + _no_replace("flag", "series kind ts test turn")
    + _no_replace("verdict", "id", "rule point ts ver")
    + _no_replace("manifest", "month part generation")
    + _no_replace("forgotten", "month part act")
    + _no_replace("bad_frame", "frame", how="IGNORE")  # those that come again are passed over
)

MIGRATIONS: tuple[str, ...] = (FIRST, RECEIVING, FILLING, KNOWING, AGGREGATES, PARTS, LETTING_GO, NO_REPLACE)


class TooNewError(sqlite3.DatabaseError):
    """A newer program has written this ledger."""

    def __init__(self, version: int) -> None:
        super().__init__(f"台账版本 {version} 比本程序(版本 {len(MIGRATIONS)})新,请升级程序")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to date; several processes may try at once. A database from a newer version is refused."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise TooNewError(version)
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for script in MIGRATIONS[version:]:
            for statement in statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def guards(connection: sqlite3.Connection) -> dict[str, str]:
    """The triggers of a database, by name."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))


@cache
def wanted_guards() -> dict[str, str]:
    """The triggers that an up-to-date ledger has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        migrate(scratch)
        return guards(scratch)


def statements(script: str) -> list[str]:
    """The statements of a script one by one: `executescript` would commit the transaction they must share."""
    found, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found
