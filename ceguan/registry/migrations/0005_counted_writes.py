"""On PostgreSQL the clockwork learns from one number that the register has changed."""

from django.db import migrations

from ceguan.registry.guards import CountedWrites


class Migration(migrations.Migration):
    dependencies = [("registry", "0004_fill_gaps")]
    operations = [
        CountedWrites(tuple(f"registry_{name}" for name in ("point", "series", "device", "permitlimit", "maintenance")))
    ]
