"""A suite: the question, as one TOML file, and the cells that answer it."""

from fabench.suite.document import asked_again, parse
from fabench.suite.expression import Expression
from fabench.suite.files import available, load
from fabench.suite.model import Budget, Planned, Suite

__all__ = ["Budget", "Expression", "Planned", "Suite", "asked_again", "available", "load", "parse"]
