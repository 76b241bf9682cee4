"""What can go wrong with the ledger."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger cannot do what was asked; the message says why, in words for the operator."""


class LedgerTakenError(LedgerError):
    """Another process writes this ledger."""
