"""The kill bench: `python -m benchmarks.chaos` kills the kit and counts what it loses."""
