"""The tests of Ceguan."""

PRELOAD = ["tests.store.crashing", "tests.intake.gateway"]
"""What the server imports once from which the tests fork their processes."""
