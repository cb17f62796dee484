"""`python -m kit` is the same as `kit`."""

from kit.cli.main import app

app(prog_name="kit")
