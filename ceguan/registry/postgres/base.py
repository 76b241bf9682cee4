"""One transaction at a time, as SQLite's BEGIN IMMEDIATE has it.

Chains of events (留痕, case files) take the hash of the event before, and steps of a case check the state they leave.
On SQLite the database lets one writer in; here a lock that lasts as long as the transaction does. Reading outside
transactions waits for nobody.
"""

from __future__ import annotations

from django.db import OperationalError
from django.db.backends.postgresql import base

from ceguan.registry.commits import UnknownCommitError

WRITING = 0x43454757  # "CEGW"


class DatabaseWrapper(base.DatabaseWrapper):
    def set_autocommit(self, autocommit: bool, *args: object, **options: object) -> None:
        super().set_autocommit(autocommit, *args, **options)
        if not autocommit:
            with self.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITING])

    def _commit(self) -> None:
        try:
            super()._commit()
        except OperationalError as error:
            raise UnknownCommitError(*error.args) from error
