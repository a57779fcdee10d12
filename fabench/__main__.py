"""`python -m fabench`."""

from fabench.cli.main import run

run()
