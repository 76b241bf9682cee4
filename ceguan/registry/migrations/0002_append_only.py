"""The database itself refuses to change or delete an audit event."""

from django.db import migrations

from ceguan.registry.guards import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [AppendOnly("registry_auditevent", "留痕只能追加，不能修改或删除")]
