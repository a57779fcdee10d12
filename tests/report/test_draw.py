from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabench.report import style
from fabench.report.draw.axis import LogAxis, domain, ticks
from fabench.report.draw.markup import element, join, powers, text
from fabench.report.draw.parts import spread
from fabench.report.draw.place import Area, Ground


def test_text_is_escaped_unless_it_is_markup() -> None:
    inner = element("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert element("p", inner, ' "x" ', class_='y" onload="z') == f'<p class="y&quot; onload=&quot;z">{inner} &quot;x&quot; </p>'
    assert element("input", hidden=True, disabled=False, width=1.5) == '<input hidden width="1.5">'
    assert powers("time grows as n^1.98, <n^x>") == "time grows as n<sup>1.98</sup>, &lt;n^x&gt;"


@given(st.text())
def test_no_text_becomes_an_element(content: str) -> None:
    assert not set(text(content)) & set("<>\"'") and not set(join([content, 1])) & set("<>")


@given(st.floats(1e-9, 1e15), st.floats(1.5, 1e12), st.sampled_from(["bytes", "duration", "count", "number", "flops"]))
def test_ticks_are_few_inside_and_labelled(low: float, factor: float, kind: str) -> None:
    found = ticks(LogAxis(low, low * factor, 0, 100), kind, 8)
    assert len(found) <= 9 and len({tick.label for tick in found}) == len(found)
    assert all(low * 0.49 <= tick.value <= low * factor * 1.001 for tick in found)


def test_ticks_speak_the_units_of_readers() -> None:
    assert [tick.label for tick in ticks(LogAxis(2**10, 2**34, 0, 1), "bytes", 5)] == [
        "1 KiB",
        "32 KiB",
        "1 MiB",
        "32 MiB",
        "1 GiB",
    ]
    assert [tick.label for tick in ticks(LogAxis(1e-4, 10, 0, 1), "duration", 6)] == [
        "100 µs",
        "1 ms",
        "10 ms",
        "100 ms",
        "1 s",
        "10 s",
    ]
    assert [tick.label for tick in ticks(LogAxis(200, 20000, 0, 1), "count", 4, [256, 16384])] == [
        "256",
        "1,024",
        "4,096",
        "16,384",
    ]


def test_an_axis_needs_no_values() -> None:
    assert domain([]) == (1.0, 10.0)
    low, high = domain([5.0])
    assert low < 5 < high and math.isclose(high / low, 4)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=12))
@example([259.0, 272.0, 287.0, 300.0])  # the edge pushes the last two into the first two
def test_labels_keep_clear_of_each_other(wanted: list[float]) -> None:
    found = sorted(spread(wanted, 14, 0, 300))
    assert all(after - before >= 14 - 1e-6 for before, after in itertools.pairwise(found))


def test_a_label_takes_the_free_place() -> None:
    ground = Ground()
    ground.add_curve([(0, 0), (100, 0)])
    assert ground.take([Area(10, -5, 20, 5), Area(10, 10, 20, 20)]).top == 10
    assert ground.take([Area(10, 10, 20, 20), Area(30, 10, 40, 20)]).left == 30


def test_looks_differ_in_dash_and_marker_not_only_in_colour() -> None:
    families = {f"q{index}": "quadratic" for index in range(3)} | {f"l{index}": "linear" for index in range(3)}
    looks = [style.look(number) for number in style.assign(families).values()]
    assert len({look.dash for look in looks}) == len({look.marker for look in looks}) == len({look.colour for look in looks}) == 6
    assert all(look.colour in style.WARM for look in looks[:3]) and all(look.colour in style.COOL for look in looks[3:])


@pytest.mark.parametrize("place", [-1.0, -0.5, 0.0, 0.3, 1.0])
def test_heat_map_text_contrasts(place: float) -> None:
    ground = style.diverging(place)
    assert style.ink_on(ground) in ("#000000", "#ffffff")
    assert style.ink_on("#ffffff") == "#000000" and style.ink_on("#0a3050") == "#ffffff"


def test_the_palette_keeps_apart_under_colour_blindness() -> None:
    """Okabe and Ito's hues, not ours to change without checking: light ground."""
    assert [light for light, _ in style.PALETTE[:6]] == ["#d55e00", "#cc79a7", "#e69f00", "#0072b2", "#009e73", "#56b4e9"]
