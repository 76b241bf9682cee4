"""Findings become cases: steps, clocks, evidence, closure. Procedures are tables."""
