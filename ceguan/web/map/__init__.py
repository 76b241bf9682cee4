"""The one map: a table of layers, the geometry of the region, objects as columns."""
