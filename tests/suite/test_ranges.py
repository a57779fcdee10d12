"""Axis values: what each form stands for, and the exact line for what can't be one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.suite.ranges import LARGEST, MOST_VALUES, layouts, whole_numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4096, [4096]),
        ("4096", [4096]),
        ([1, 8, 8], [1, 8]),
        ("1024..65536x2", [1024, 2048, 4096, 8192, 16384, 32768, 65536]),
        ("1024..60000x4", [1024, 4096, 16384]),
        ("7..7x2", [7]),
        ("64..512+64", [64, 128, 192, 256, 320, 384, 448, 512]),
        ("64..200+100", [64, 164]),
        ("1024, 4096..16384x2", [1024, 4096, 8192, 16384]),
        ([3, "4..6+1"], [3, 4, 5, 6]),
        (" 1 .. 4 x 2 ", [1, 2, 4]),
    ],
)
def test_whole_numbers(value: object, expected: list[int]) -> None:
    assert whole_numbers(value) == expected


@pytest.mark.parametrize(
    ("value", "sides", "expected"),
    [
        ("64x48", 2, [(64, 48)]),
        ("32x32..256x256x2", 2, [(32, 32), (64, 64), (128, 128), (256, 256)]),
        ("16x16x8..64x64x32x2", 3, [(16, 16, 8), (32, 32, 16), (64, 64, 32)]),
        ("16x16..64x40x2", 2, [(16, 16), (32, 32)]),
        (["24x24", "8x8..16x16x2"], 2, [(24, 24), (8, 8), (16, 16)]),
        ("8x8,16x16", 2, [(8, 8), (16, 16)]),
    ],
)
def test_layouts(value: object, sides: int, expected: list[tuple[int, ...]]) -> None:
    assert layouts(value, sides) == expected


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ([], "is empty; give at least one value"),
        ("", "'' is no number or range; write for example 1024, '1024..65536x2' or '64..512+64'"),
        ("1024..8x", "'1024..8x' is no number or range; write for example 1024, '1024..65536x2' or '64..512+64'"),
        ("8..64", "'8..64' has no step; write 8..64x2 to double or 8..64+8 to add 8"),
        ("64..8x2", "'64..8x2' starts above its stop; write the smaller number first"),
        ("8..64x1", "'8..64x1' has the factor 1; it must be at least 2"),
        ("8..64+0", "'8..64+0' has the step 0; it must be at least 1"),
        ("1..20000+1", "'1..20000+1' has more than 10000 values; take a larger step"),
        (0, "0 is out of range; it must lie between 1 and 2^40"),
        ("0..64x2", "0 is out of range; it must lie between 1 and 2^40"),
        (-3, "-3 is out of range; it must lie between 1 and 2^40"),
        ("9" * 5000, "1099511627777 is out of range; it must lie between 1 and 2^40"),
        (1.5, "1.5 is no whole number; write for example 1024, [1, 8] or '1024..65536x2'"),
        (True, "true is no whole number; write for example 1024, [1, 8] or '1024..65536x2'"),
        ([[1]], "a list is no whole number; write for example 1024, [1, 8] or '1024..65536x2'"),
        ("٣", "'٣' is no number or range; write for example 1024, '1024..65536x2' or '64..512+64'"),
    ],
)
def test_impossible_numbers(value: object, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        whole_numbers(value)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (64, "64 is no layout; write it as '64x64'"),
        ("64", "'64' has 1 sides, not 2; write for example '64x64'"),
        ("4x4x4", "'4x4x4' has 3 sides, not 2; write for example '64x64'"),
        ("4x4..8x8", "'4x4..8x8' must end in 2 sides and a factor; write for example '32x32..256x256x2'"),
        ("8x8..4x4x2", "'8x8..4x4x2' starts above its stop; write the smaller layout first"),
        ("4x4..8x8x1", "'4x4..8x8x1' has the factor 1; it must be at least 2"),
        ("0x4", "0 is out of range; it must lie between 1 and 2^40"),
        ("axb", "'axb' is no layout or range; write for example '64x64' or '32x32..256x256x2'"),
    ],
)
def test_impossible_layouts(value: object, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        layouts(value, 2)
    assert str(caught.value) == line


@given(st.one_of(st.text(max_size=40), st.text("0123456789.x+, ", max_size=30)))
def test_any_text_is_values_or_one_line(text: str) -> None:
    for read in (whole_numbers, lambda given: layouts(given, 2), lambda given: layouts(given, 3)):
        try:
            values = read(text)
        except ValueError as error:
            assert str(error).isprintable() and len(str(error)) < 300
        else:
            assert 0 < len(values) <= MOST_VALUES


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(2, 10))
def test_geometric_range_ends_at_or_below_its_stop(start: int, more: int, factor: int) -> None:
    values = whole_numbers(f"{start}..{start + more}x{factor}")
    assert values[0] == start and values[-1] <= start + more < values[-1] * factor
    assert values == [start * factor**power for power in range(len(values))]


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(1, 100))
def test_arithmetic_range_ends_at_or_below_its_stop(start: int, more: int, step: int) -> None:
    values = whole_numbers(f"{start}..{start + more}+{step}")
    assert values == list(range(start, start + more + 1, step)) and math.prod(values[:1]) <= LARGEST
