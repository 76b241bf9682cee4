"""Stretches of time [from, to) as sorted lists that do not touch each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """What is in any of them; empty ones are left out."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def minus(some: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What is in `some` and in none of `others`."""
    left, gone = [], union(others)
    at = 0
    for start, end in union(some):
        while at < len(gone) and gone[at][1] <= start:
            at += 1
        place = at
        while place < len(gone) and gone[place][0] < end:
            if gone[place][0] > start:
                left.append((start, gone[place][0]))
            start = gone[place][1]
            place += 1
        if start < end:
            left.append((start, end))
    return left


def both(some: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What is in `some` and in `others`."""
    some = list(some)
    return minus(some, minus(some, others))


def cut(spans: Iterable[Span], most: int) -> list[Span]:
    """Pieces of at most `most` seconds, cut off from the newest end."""
    pieces = []
    for start, end in spans:
        while end - start > most:
            pieces.append((end - most, end))
            end -= most
        pieces.append((start, end))
    return sorted(pieces)
