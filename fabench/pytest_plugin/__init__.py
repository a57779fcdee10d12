"""A pytest plugin: `pytest suites/ci.toml --benchmark-only` runs a suite's cells as tests, and its times are pytest-benchmark's.

A suite is collected only when its file is named on the command line, or matches the ini option `fabench_suites`; no other TOML is
touched. Every cell runs in a process of its own, from a fork server that starts with the first cell and ends with the session; this
process never holds torch. The check is the assertion. Samples become pytest-benchmark's rounds, so that its table, --benchmark-json,
--benchmark-autosave and --benchmark-compare work; without pytest-benchmark the cells are plain tests. Where times would mean nothing
(--benchmark-disable, or workers of pytest-xdist beside each other) cells are checked and not timed, and a line says so.

pytest loads this file in every session of an environment that has fabench, so it imports next to nothing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fabench.pytest_plugin.cells import SuiteFile
    from fabench.pytest_plugin.measuring import Measuring

__all__ = ["CHECKED", "measuring_of", "why_untimed"]

CHECKED = "fabench_checked_only"  # the property of a test whose cell was not timed; its value says why
_SUITES = pytest.StashKey[frozenset[Path]]()
_MEASURING = pytest.StashKey["Measuring"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ini option."""
    parser.addini(
        "fabench_suites",
        type="linelist",
        default=[],
        help="Suites of fabench to collect wherever pytest meets them: globs from rootdir.",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """A suite that was named, or that the project lists."""
    if file_path.suffix != ".toml":
        return None
    listed = file_path in _listed(parent.config)
    if not listed and not parent.session.isinitpath(file_path):
        return None
    from fabench.pytest_plugin.cells import SuiteFile, may_be_suite

    return SuiteFile.from_parent(parent, path=file_path) if listed or may_be_suite(file_path) else None


def _listed(config: pytest.Config) -> frozenset[Path]:
    if _SUITES not in config.stash:
        globs = config.getini("fabench_suites")
        config.stash[_SUITES] = frozenset(path for glob in globs for path in config.rootpath.glob(glob))
    return config.stash[_SUITES]


def measuring_of(config: pytest.Config) -> Measuring:
    """The session's measuring side; it ends with the session, however that ends."""
    from fabench.pytest_plugin.measuring import Measuring

    if _MEASURING not in config.stash:
        config.stash[_MEASURING] = Measuring()
        config.add_cleanup(config.stash[_MEASURING].close)
    return config.stash[_MEASURING]


def why_untimed(config: pytest.Config) -> str | None:
    """Why cells are only checked in this session, None where they are timed."""
    if hasattr(config, "workerinput"):
        return "pytest-xdist runs tests beside each other, which disturbs times; time them with -n 0"
    benchmarks = getattr(config, "_benchmarksession", None)
    return "--benchmark-disable" if benchmarks is not None and benchmarks.disabled else None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Adds what no benchmark carries: environments, and the cells without a time."""
    if _MEASURING in config.stash:
        from fabench.export.pytest_benchmark import enclosed

        kept = config.stash[_MEASURING]
        output_json["fabench"] = enclosed(kept.without_time, kept.environments)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says how many cells were not timed, and why; and what was said about the devices."""
    for line in config.stash[_MEASURING].said if _MEASURING in config.stash else ():
        terminalreporter.write_line(f"fabench: {line}")
    reports = [report for found in terminalreporter.stats.values() for report in found if getattr(report, "when", "") == "call"]
    reasons = Counter(value for report in reports for name, value in report.user_properties if name == CHECKED)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"fabench: {count} {'cell was' if count == 1 else 'cells were'} checked, not timed: {reason}")
