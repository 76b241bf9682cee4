"""One module per subject; each has `urls`, its views ask the rooms and render."""
