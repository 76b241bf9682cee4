"""An invented city and its devices, speaking real HJ 212."""
