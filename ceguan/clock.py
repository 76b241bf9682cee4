"""The platform's clock. Rooms below the waterline ask it once, as high up as possible, and pass `now` down."""

from __future__ import annotations

import time
from functools import lru_cache

from ceguan import settings


def now() -> float:
    """Platform time, UTC epoch seconds: real time, or the demo's time-lapse clock (setting `demo_clock`)."""
    origin, platform, speed = _demo()
    real = time.time()
    return real if speed == 1 and origin == platform else platform + (real - origin) * speed


def speed() -> float:
    """How many platform seconds pass in one real second."""
    return _demo()[2]


@lru_cache(maxsize=1)
def _demo() -> tuple[float, float, float]:
    text = settings.load().demo_clock
    if not text:
        return 0.0, 0.0, 1.0
    try:
        origin, platform, rate = (float(part) for part in text.split(","))
    except ValueError:
        raise settings.SettingError(f"设置 demo_clock 应为“真实起点,平台起点,倍速”，得到 {text!r}") from None
    return origin, platform, rate
