"""Operations for migrations: what the database itself must refuse or count, in the words of SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.base import Operation

_SQLITE = """CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{message}'); END;"""
_POSTGRES = """CREATE FUNCTION {table}_no_{verb}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_no_{verb}();"""


class AppendOnly(Operation):
    """Rows of a table can be neither changed nor deleted."""

    reduces_to_sql = reversible = True

    def __init__(self, table: str, message: str) -> None:
        self.table, self.message = table, message

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.table, self.message], {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Django's picture of the tables does not know triggers."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        text = _POSTGRES if schema_editor.connection.vendor == "postgresql" else _SQLITE
        for verb in ("update", "delete"):
            schema_editor.execute(text.format(table=self.table, verb=verb, message=self.message))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for verb in ("update", "delete"):
            name = f"{self.table}_no_{verb}"
            if schema_editor.connection.vendor == "postgresql":
                schema_editor.execute(f"DROP FUNCTION {name}() CASCADE;")
            else:
                schema_editor.execute(f"DROP TRIGGER {name};")

    def describe(self) -> str:
        return f"{self.table} is append-only"


class CountedWrites(Operation):
    """PostgreSQL: any write to these tables raises the number in `registry_writes`. SQLite counts commits by itself."""

    reduces_to_sql = reversible = True

    def __init__(self, tables: tuple[str, ...]) -> None:
        self.tables = tables

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.tables], {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """See above."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        schema_editor.execute("CREATE TABLE IF NOT EXISTS registry_writes (n BIGINT NOT NULL)")
        schema_editor.execute("INSERT INTO registry_writes SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM registry_writes)")
        schema_editor.execute(
            """CREATE OR REPLACE FUNCTION registry_count_write() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN UPDATE registry_writes SET n = n + 1; RETURN NULL; END $$"""
        )
        for table in self.tables:
            schema_editor.execute(
                f"""CREATE TRIGGER {table}_counted AFTER INSERT OR UPDATE OR DELETE ON {table}
                    FOR EACH STATEMENT EXECUTE FUNCTION registry_count_write()"""
            )

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            for table in self.tables:
                schema_editor.execute(f"DROP TRIGGER {table}_counted ON {table}")

    def describe(self) -> str:
        return f"writes to {', '.join(self.tables)} are counted"
