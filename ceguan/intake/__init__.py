"""Intake: everything that comes in from the field – HJ 212 frames over TCP, files for what does not speak it yet."""
