"""科学: pure functions on numpy columns. No clock, disk, log or settings; every result says by which clause."""
