"""Numbers as readers see them: what is written reads back as what was meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.analysis.estimate import Estimate
from fabench.report.words import interval, show

SCALE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@given(st.integers(0, 9 * 10**17))
def test_decimal_bytes_read_back_to_four_digits(value: int) -> None:
    found = re.fullmatch(r"([\d,]+(?:\.\d+)?) ([kMGTP]?)B", show(value, "decimal"))
    assert found is not None
    number, prefix = found.groups()
    assert float(number.replace(",", "")) * SCALE[prefix] == pytest.approx(value, rel=5.1e-4)
    digits = number.replace(",", "").replace(".", "")
    assert len(digits) == 4 or not prefix
    assert float(number.replace(",", "")) < 1000 or prefix == "P" or value < 1000


@given(st.floats(-2, 2))
def test_differences_carry_their_sign_and_nothing_carries_none(value: float) -> None:
    for kind, scale, digits in (("points", 100, 2), ("pixels_apart", 1, 3)):
        text = show(value, kind).partition(" ")[0]
        rounded = round(value * scale, digits)
        assert float(text.replace("−", "-")) == pytest.approx(rounded, abs=10**-digits)
        assert text[0] in "+−" or float(text) == 0


def test_intervals_with_a_sign_are_joined_by_a_word() -> None:
    assert interval(Estimate(-0.0016, -0.0031, -0.0001), "points") == "−0.31 to −0.01 points"
    assert interval(Estimate(2.0, -1.0, 5.0), "pixels") == "-1.000 to 5.000 px"
    assert interval(Estimate(1.25e-3, 1.2e-3, 1.31e-3), "duration") == "1.20–1.31 ms"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (20_552_089_600, "decimal", "20.55 GB"),  # the paper's fpn1
        (1_285_000_000, "decimal", "1.285 GB"),
        (618_475_290_624, "decimal", "618.5 GB"),
        (999_960, "decimal", "1.000 MB"),
        (144, "decimal", "144 B"),
        (1.651e12, "mac", "1.651 T MAC"),
        (None, "decimal", "–"),
        (0.97334, "share", "97.33 %"),
    ],
)
def test_numbers_as_the_paper_prints_them(value: float | None, kind: str, text: str) -> None:
    assert show(value, kind) == text
