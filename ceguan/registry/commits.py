"""When nobody knows whether a transaction was committed."""

from __future__ import annotations

from django.db import OperationalError


class UnknownCommitError(OperationalError):
    """The connection broke at COMMIT: what was to be written stands as a whole, or not at all."""


def is_unknown(error: BaseException | None) -> bool:
    """Whether it broke off at COMMIT. Django, tidying up behind that, may have met another error since."""
    while error is not None and not isinstance(error, UnknownCommitError):
        error = error.__context__
    return error is not None
