"""From three layers – reading, flags, decisions – to what science may use.

A device flag other than N, a FAIL of a test, or a decision "invalidate" takes a reading out; a decision "keep" or
"substitute" of a person brings it back. SUSPECT is a mark, not a verdict: the reading still counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ceguan.words import Outcome

Outcomes = NDArray[np.int8]
Bools = NDArray[np.bool_]

_ORDER = (Outcome.PASS, Outcome.NOT_EVALUATED, Outcome.SUSPECT, Outcome.FAIL, Outcome.MISSING)
_RANK = np.zeros(10, np.int8)
_RANK[list(_ORDER)] = range(len(_ORDER))
_BACK = np.array(_ORDER, np.int8)

NORMAL_FLAGS = ("N", "", "3", "L")
"""Flags that leave a reading in use: N; none (devices of the 2005 edition); 3, "normal" of an air station of 2005
(HJ/T 212-2005); L, below the detection limit (given at import)."""


def worst(outcomes: Sequence[Outcomes]) -> Outcomes:
    """The gravest outcome of each reading over several tests: PASS < NOT_EVALUATED < SUSPECT < FAIL < MISSING.

    A test that was not evaluated does not make a reading worse than one that passed the others; it stays visible as
    NOT_EVALUATED only where nothing graver was found. Raises ValueError without any test.
    """
    if not len(outcomes):
        raise ValueError("没有任何检验结果可合并 (no outcomes to merge)")
    ranks = np.max([_RANK[o] for o in outcomes], axis=0)
    return _BACK[ranks]


def normal(flag: NDArray[np.str_]) -> Bools:
    """True where the device's flag leaves a reading in use."""
    plain = flag == "N"
    return plain if plain.all() else plain | np.isin(flag, NORMAL_FLAGS)


def valid(outcome: Outcomes, flag: NDArray[np.str_], action: NDArray[np.str_]) -> Bools:
    """True where a reading may be used: gravest outcome, the device's flag, the decision in force ("" none)."""
    missing = outcome == Outcome.MISSING
    by_machine = ~missing & (outcome != Outcome.FAIL) & normal(flag)
    if not (action != "").any():
        return by_machine
    substituted = action == "substitute"
    kept = substituted | ((action == "keep") & ~missing)
    return (by_machine | kept) & (action != "invalidate")
