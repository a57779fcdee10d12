"""A suite as a file of tests, and a cell as a test. See the package for what is collected when."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabench.errors import FabenchError
from fabench.export.base import Bundle, Outcome, point
from fabench.pytest_plugin import CHECKED, measuring_of, why_untimed
from fabench.pytest_plugin.benchmark import keep
from fabench.schema import Record
from fabench.suite import Planned, Suite, load

__all__ = ["CellItem", "SuiteFile", "may_be_suite"]


def may_be_suite(path: Path) -> bool:
    """Whether a TOML that was named has a suite's axes. One that can't be read passes, so that the reason is said."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document.get("axes"), dict) or isinstance(document.get("grid"), list)


class SuiteFile(pytest.File):
    """A suite; its planned cells are its tests, named by their ids."""

    def collect(self) -> Iterator[CellItem]:
        """The cells in planned order. A mistake in the suite is a line, no traceback."""
        try:
            suite = load(str(self.path))
            if why_untimed(self.config) is not None:
                suite = replace(suite, measure=replace(suite.measure, check_only=True))
            auto = measuring_of(self.config).auto_device(suite.measure) if "auto" in suite.devices else "cpu"
            planned = suite.plan(auto)
        except FabenchError as error:
            raise self.CollectError(str(error)) from None
        for item in planned:
            yield CellItem.from_parent(self, name=item.cell.id, suite=suite, planned=item)


class CellItem(pytest.Item):
    """A cell. `fixturenames` is what pytest-benchmark tells a benchmark by (--benchmark-only, --benchmark-skip)."""

    fixturenames = ("benchmark",)

    def __init__(self, *, suite: Suite, planned: Planned, **rest: Any) -> None:
        super().__init__(**rest)
        self.suite = suite
        self.planned = planned

    def reportinfo(self) -> tuple[Path, int, str]:
        """A cell has no line of its own; skipping needs one."""
        return self.path, 0, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What a user can mend is a line, no traceback."""
        return super().repr_failure(excinfo, "value" if isinstance(excinfo.value, FabenchError) else style)

    def runtest(self) -> None:
        """Measures the cell; its status is the test's outcome."""
        if (untimed := why_untimed(self.config)) is not None:
            self.user_properties.append((CHECKED, untimed))
        kept = measuring_of(self.config)
        record, environment = kept.run(self.suite, self.planned)
        expected = self.suite.expects(record.status, record.cell)
        bundle = Bundle((record,), (environment,), {} if expected is None else {record.cell.id: expected})
        if (timing := bundle.timed(record)) is None:
            kept.without_time.append(record)
        self._judge(record, bundle)
        if timing is not None:
            self.user_properties += [("median_s", point(timing).median_s), *bundle.facts(record).items()]
            keep(self.config, record, timing, bundle)

    def _judge(self, record: Record, bundle: Bundle) -> None:
        outcome = bundle.outcome(record)
        if outcome is Outcome.PASSED:
            return
        expected = record.cell.id in bundle.expected
        if outcome is not Outcome.FAILED and not expected:
            pytest.skip(record.reason or bundle.ending(record))
        if expected and not self.config.getoption("runxfail"):
            pytest.xfail(bundle.ending(record))
        pytest.fail(bundle.ending(record), pytrace=False)
