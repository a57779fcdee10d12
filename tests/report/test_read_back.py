from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.errors import StoreError
from fabench.report import read_html, read_report, write_report
from fabench.report.page.data import embed, extract
from fabench.schema import Record
from tests import synthetic
from tests.report import hostile

ENVIRONMENTS = [synthetic.environment()]


def element(payload: bytes) -> bytes:
    return b'<script type="application/octet-stream" id="fabench-data">' + base64.b64encode(payload) + b"</script>"


def test_a_page_gives_back_what_it_was_made_of(page: Path, records: Sequence[Record]) -> None:
    assert read_html(page) == (list(records), ENVIRONMENTS)


def test_json_gives_it_back_too(records: Sequence[Record], tmp_path: Path) -> None:
    path = write_report(records, ENVIRONMENTS, tmp_path, "x", ["json"])[0]
    assert read_report(path) == (list(records), ENVIRONMENTS)
    assert len(path.read_bytes().splitlines()) > len(records)


def test_hostile_texts_survive_the_round_trip(tmp_path: Path) -> None:
    found, known = hostile.records(), [hostile.environment()]
    for path in write_report(found, known, tmp_path, "x", ["html", "json"]):
        assert read_report(path) == (found, known)


def test_nothing_measured_is_readable_too(tmp_path: Path) -> None:
    for path in write_report([], [], tmp_path, "empty", ["html", "json"]):
        assert read_report(path) == ([], [])


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (b"", "carries no data"),
        (b"<html>", "carries no data"),
        (element(b"") + element(b""), "twice"),
        (element(b"no gzip"), "damaged"),
        (element(gzip.compress(mtime=0, data=b"")), "damaged"),
        (element(gzip.compress(mtime=0, data=b"[1]\n")), "form that is not known"),
        (element(gzip.compress(mtime=0, data=b'{"format":1,"environments":0,"records":2}\n')), "incomplete"),
        (element(gzip.compress(mtime=0, data=b'{"format":1,"environments":0,"records":0}\n{}\n')), "incomplete"),
        (element(gzip.compress(mtime=0, data=b'{"format":1,"environments":0,"records":1}\n{}\n')), "cell is missing"),
        (element(gzip.compress(mtime=0, data=b'{"format":1,"environments":0,"records":0}\n')[:-9]), "ends too early"),
        (element(gzip.compress(mtime=0, data=b'{"format":1,"environments":true,"records":0}\n')), "not known"),
        (embed([], []).encode().replace(b"</script>", b"!</script>"), "damaged"),
    ],
)
def test_what_is_no_report_is_one_line(page: bytes, problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as raised:
        extract(page)
    assert "\n" not in str(raised.value)


def test_a_bomb_is_refused_while_it_is_unpacked() -> None:
    line = b'{"format":1,"environments":0,"records":1}\n'
    bomb = element(gzip.compress(mtime=0, data=line + b"a" * 2**27))
    assert len(bomb) < 300_000
    with pytest.raises(StoreError, match="larger than any report"):
        extract(bomb)
    with pytest.raises(StoreError, match="larger than any report"):
        extract(WHOLE, limit_bytes=1000)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for name in ("none.html", "none.json"):
        with pytest.raises(StoreError, match="can't read"):
            read_report(tmp_path / name)


WHOLE = embed(synthetic.records(("sdpa",), n=(256, 512), samples=3), ENVIRONMENTS).encode()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=6), st.integers(0, 40))
def test_any_damage_is_a_result_or_one_line(at: int, put: bytes, cut: int) -> None:
    try:
        extract(WHOLE[:at] + put + WHOLE[at + cut :])
    except StoreError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_or_one_line(tmp_path_factory: pytest.TempPathFactory, payload: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(payload)
    calls: tuple[Callable[[], object], ...] = (
        lambda: extract(payload),
        lambda: extract(element(gzip.compress(mtime=0, data=payload))),
        lambda: read_report(path),
    )
    for call in calls:
        with pytest.raises(StoreError):
            call()
