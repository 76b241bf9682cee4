"""The database itself refuses to change or delete an event of a case or its evidence."""

from django.db import migrations

FORBID = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '案件记录只能追加，不能修改或删除'); END;
"""
ALLOW = "DROP TRIGGER {table}_no_{verb};"
PAIRS = [(table, verb) for table in ("cases_caseevent", "cases_attachment") for verb in ("update", "delete")]


class Migration(migrations.Migration):
    dependencies = [("cases", "0002_initial")]
    operations = [
        migrations.RunSQL(FORBID.format(table=table, verb=verb), ALLOW.format(table=table, verb=verb))
        for table, verb in PAIRS
    ]
