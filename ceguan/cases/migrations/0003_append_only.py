"""The database itself refuses to change or delete an event of a case or its evidence."""

from django.db import migrations

from ceguan.registry.guards import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("cases", "0002_initial")]
    operations = [
        AppendOnly(table, "案件记录只能追加，不能修改或删除") for table in ("cases_caseevent", "cases_attachment")
    ]
