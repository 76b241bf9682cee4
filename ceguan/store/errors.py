"""What can go wrong with the ledger."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger cannot do what was asked; the message says why, in words for the operator."""


class LedgerTakenError(LedgerError):
    """Another process writes this ledger."""


class HistoryError(OSError):
    """A sealed file cannot be had or put; the message says where and why."""
