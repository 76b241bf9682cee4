"""What a device usually sends, learned from what it sends: pure, one step per message.

Behind a CRC that 1 damage in 256 passes, a factor that is not there any more is a sign worth showing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


def follow(known: Mapping[str, int], sent: Collection[str], enough: int) -> tuple[dict[str, int] | None, list[str]]:
    """(what is known now, None when that is unchanged; usual factors missing from this message).

    `known`: factor → in how many messages in a row it came, at most `enough`, from which on it is usual; negative: for
    how many messages a usual factor has been missing. After `enough` of those it is usual no longer, and forgotten.
    """
    if known == dict.fromkeys(sent, enough):
        return None, []
    now = {factor: _came(known.get(factor, 0), enough) for factor in sent}
    missing = [factor for factor, run in known.items() if factor not in now and (run < 0 or run == enough)]
    for factor in missing:
        run = min(known[factor], 0) - 1
        if run > -enough:
            now[factor] = run
    return (None if now == known else now), missing


def _came(run: int, enough: int) -> int:
    return enough if run < 0 else min(run + 1, enough)
