"""The commands, and what `kit list` shows."""
