"""Tests on columns of readings: what was tested, with which version and parameters, what came out, why not.

A room of pure functions: no clock, no settings. The tests of a series are rows of `programme.csv`.
"""
