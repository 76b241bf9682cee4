"""`ceguan ledger verify`: whether the ledger still holds what it says."""

from __future__ import annotations

import argparse

from ceguan import operate, settings
from ceguan.store import Store


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "台账：核验"
    kinds = verbs.add_parser("ledger", help=text, description=text).add_subparsers(metavar="命令", required=True)
    operate._verb(
        kinds, "verify", "核验认定链、封存文件的 SHA-256、归档位置；完好返回 0，有断裂逐条说明并返回 1", _verify
    )


def _verify(args: argparse.Namespace) -> int:
    store = Store(settings.load().folder)
    gone = store.forgotten().num_rows
    found = [*store.breaks(), *(_unaccounted(store) if gone else ())]
    for one in found:
        print(one)
    if not found:
        files, decided = store.standing().num_rows, store.decisions().num_rows
        print(f"台账完好：认定 {decided} 条成链，封存文件 {files} 个与清单一致，归档位置都在归档之内")
        if gone:
            print(f"其中依留痕的决定删去过读数的 {gone} 处，与留痕一致")
    return int(bool(found))


def _unaccounted(store: Store) -> list[str]:
    operate._django()
    from ceguan.watch import forgetting

    return list(forgetting.unaccounted(store))
