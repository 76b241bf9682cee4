"""`ceguan evaluate …`: judge a table by the standards in force when its rows were measured.

One module for each subject; each adds its verbs with `add_verbs(verbs)`. The column contract is in `--help` and docs.
"""

from __future__ import annotations

from typing import Any

from ceguan.evaluate import (
    air,
    air_components,
    air_days,
    ecology,
    emission,
    emission_data,
    ground,
    noise,
    water,
    water_bodies,
    water_periods,
)

SUBJECTS = (
    air, air_days, air_components, water, water_bodies, water_periods, ground, noise, emission, emission_data, ecology,
)  # fmt: skip


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` and its verbs; each sets `run`."""
    top = subparsers.add_parser("evaluate", help="按标准评价一个文件（CSV 或 Parquet）", add_help=False)
    top.add_argument("-h", "--help", action="help", help="显示帮助")
    verbs = top.add_subparsers(title="评价", metavar="评价项目", required=True)
    for subject in SUBJECTS:
        subject.add_verbs(verbs)
