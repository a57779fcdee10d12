from __future__ import annotations

from pathlib import Path

import pytest

from fabench.report import words
from fabench.report.blocks import Report
from fabench.report.content import compose
from fabench.report.formats.base import Bundle
from fabench.report.readings import Readings, read
from fabench.schema import Record
from tests import synthetic


@pytest.fixture(scope="session")
def records() -> list[Record]:
    """Two modes, three head counts, both scopes: every section has something to say."""
    wide = synthetic.records(
        heads=(1, 4), d=(16, 64), scopes=("core", "module"), n=(256, 512, 1024, 2048, 16384, 65536), samples=9
    )
    return wide


@pytest.fixture(scope="session")
def readings(records: list[Record]) -> Readings:
    return read(records, [synthetic.environment()], words.reproduce_with("quick"))


@pytest.fixture(scope="session")
def report(readings: Readings) -> Report:
    return compose(readings, "Synthetic", ["1 line of records.jsonl could not be read"])


@pytest.fixture(scope="session")
def bundle(readings: Readings) -> Bundle:
    return Bundle(readings.records, readings.environments, readings.evidence, readings.frame)


@pytest.fixture(scope="session")
def page(report: Report, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fabench.report.formats import html

    return html.write(report, bundle, tmp_path_factory.mktemp("report") / "page")[0]
