import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.5, "1.50 s"), (0.00123, "1.23 ms"), (45.6e-6, "45.6 µs"), (1e-9, "1.00 ns"), (300, "5.0 min"), (36000, "10.0 h"), (None, "–"), (0, "0 ns")],
)  # fmt: skip
def test_durations(value: float | None, text: str) -> None:
    assert units.format_duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1536 * 2**20, "1.50 GiB"), (2**70, "1048576 PiB"), (None, "–")],
)
def test_bytes(value: float | None, text: str) -> None:
    assert units.format_bytes(value) == text


def test_rates_counts_and_ratios() -> None:
    assert units.format_rate(12.34e9, "B/s") == "12.3 GB/s"
    assert units.format_count(412.85e9, "MAC") == "413 GMAC"
    assert units.format_ratio(2.314) == "2.31x"
    assert units.format_ratio(None) == "–"


@pytest.mark.parametrize(("text", "count"), [("8 GiB", 2**33), ("500 MB", 500_000_000), ("1.5kib", 1536), (77, 77), ("12", 12)])
def test_sizes_are_read(text: str | int, count: int) -> None:
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize(("text", "seconds"), [("200 ms", 0.2), ("2 s", 2), ("10 min", 600), (0.5, 0.5), ("1e-3", 1e-3)])
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@given(st.text())
def test_any_text_is_a_quantity_or_one_error(text: str) -> None:
    for parse in (units.parse_bytes, units.parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "write for example" in str(error)


@given(st.floats(1e-9, 1e9))
def test_what_is_shown_is_close_to_what_is_meant(seconds: float) -> None:
    value, unit = units.format_duration(seconds).split()
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}[unit]
    assert float(value) * scale == pytest.approx(seconds, rel=0.03)
