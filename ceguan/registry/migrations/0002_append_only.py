"""The database itself refuses to change or delete an audit event."""

from django.db import migrations

FORBID = """
CREATE TRIGGER registry_auditevent_no_{verb} BEFORE {verb} ON registry_auditevent
BEGIN SELECT RAISE(ABORT, '留痕只能追加，不能修改或删除'); END;
"""
ALLOW = "DROP TRIGGER registry_auditevent_no_{verb};"


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [
        migrations.RunSQL(FORBID.format(verb=verb), ALLOW.format(verb=verb)) for verb in ("update", "delete")
    ]
