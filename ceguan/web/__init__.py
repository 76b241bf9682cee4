"""Pages and API: thin – ask, render."""
