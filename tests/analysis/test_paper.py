from dataclasses import replace
from typing import Any

import pytest

from fabench.analysis.frame import tidy
from fabench.analysis.paper import ERRATA, PaperRow, compare, expected
from fabench.schema import Case, Cell, Memory, Record
from tests import synthetic

# Typed from the table, not computed: n, DP bytes, FA bytes, their ratio; DP and FA operations in G as printed, their ratio;
# DP and FA true multiply-accumulates in G.
TABLE = [
    (1024, 5_242_880, 1_056_768, "4.96", "0.2097", "0.02517", "8.33", "0.10905", "0.012583"),
    (4096, 71_303_168, 4_202_496, "16.97", "3.2548", "0.10066", "32.33", "1.6442", "0.050332"),
    (16384, 1_090_519_040, 16_785_408, "64.97", "51.674", "0.40265", "128.33", "25.904", "0.20133"),
    (65536, 17_246_978_048, 67_117_056, "256.97", "825.17", "1.61061", "512.33", "412.85", "0.80531"),
    (131072, 68_853_694_464, 134_225_920, "512.97", "3299.6", "3.2212", "1024.33", "1650.3", "1.6106"),
]


def as_printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(("line", "row"), list(zip(expected(), TABLE, strict=True)))
def test_the_table_to_the_digit(line: Any, row: tuple[Any, ...]) -> None:
    n, dp_bytes, fa_bytes, bytes_ratio, dp_operations, fa_operations, operations_ratio, dp_mac, fa_mac = row
    assert (line.n, line.dp_bytes, line.fa_bytes) == (n, dp_bytes, fa_bytes)
    assert as_printed(line.bytes_ratio, bytes_ratio) == bytes_ratio
    assert as_printed(line.operations_ratio, operations_ratio) == operations_ratio
    for value, printed in (
        (line.dp_operations, dp_operations),
        (line.fa_operations, fa_operations),
        (line.dp_mac, dp_mac),
        (line.fa_mac, fa_mac),
    ):
        assert as_printed(value / 1e9, printed) == printed


def test_inputs_and_errata() -> None:
    assert [line.input for line in expected()] == ["32x32", "64x64", "128x128", "256x256", "64x64x32"]
    assert [erratum.number for erratum in ERRATA] == [1, 2, 3, 4, 5]


def module(name: str, n: int = 4096, mode: str = "fwd_bwd", reprojection: bool = False, **rest: Any) -> Record:
    shape: dict[str, Any] = {"d_k": 32, "d_v": 64, "channels": 64, "residual": False, "pool": 1, **rest}
    case = Case(n=n, m=n, mode=mode, scope="module", reprojection=reprojection, **shape)
    return synthetic.measured(Cell(name, "cpu", case), [1.0])


def by_role(found: list[PaperRow]) -> dict[str, PaperRow]:
    return {row.role: row for row in found}


@pytest.mark.parametrize("reprojection", [False, True])
@pytest.mark.parametrize(("n", "dp_bytes", "fa_bytes"), [row[:3] for row in TABLE])
def test_measured_cells_agree_with_the_paper(n: int, dp_bytes: int, fa_bytes: int, reprojection: bool) -> None:
    found = by_role(compare(tidy([module(name, n, reprojection=reprojection) for name in ("dot_product", "factorized_plain")])))
    dp, fa = found["DP"], found["FA"]
    assert (dp.measured_bytes, fa.measured_bytes) == (dp.expected_bytes, fa.expected_bytes) == (dp_bytes, fa_bytes)
    assert dp.bytes_off == fa.bytes_off == dp.flop_off == fa.flop_off == 0
    assert dp.measured_ratio == pytest.approx(dp_bytes / fa_bytes) == pytest.approx(dp.expected_ratio)
    assert fa.measured_ratio is None


@pytest.mark.parametrize(("mode", "passes"), [("fwd", 1), ("bwd", 2), ("fwd_bwd", 3)])
def test_flops_are_twice_the_true_mac_per_pass(mode: str, passes: int) -> None:
    for row in compare(tidy([module("dot_product", 1024, mode), module("factorized_plain", 1024, mode)])):
        assert row.expected_flop == passes * 2 * row.paper_mac
        assert row.paper_mac == (109_051_904 if row.role == "DP" else 12_582_912)


def test_forward_alone_saves_nothing() -> None:
    (row,) = compare(tidy([module("dot_product", mode="fwd")]))
    assert row.measured_bytes is None and row.bytes_off is None and row.flop_off == 0


def test_what_differs_is_said() -> None:
    record = module("factorized_plain")
    assert isinstance(record.memory, Memory) and record.memory.saved_bytes is not None and record.flop is not None
    off = replace(record, memory=replace(record.memory, saved_bytes=record.memory.saved_bytes + 4), flop=record.flop + 1)
    (row,) = compare(tidy([off]))
    assert row.bytes_off == 4 and row.flop_off == 1 and row.measured_bytes == 4_202_500


def test_a_streaming_kernel_has_no_map_to_compare() -> None:
    (row,) = compare(tidy([module("sdpa")]))
    assert row.role == "streaming" and row.expected_bytes is None and row.bytes_off is None and row.measured_bytes is not None


@pytest.mark.parametrize(
    "other",
    [{"n": 2048}, {"heads": 2, "d_k": 16}, {"d_k": 64}, {"channels": 128}, {"dtype": "float16"}, {"batch": 2}, {"mask": "padding"},
     {"pool": 2}],
)  # fmt: skip
def test_other_cells_are_left_out(other: dict[str, Any]) -> None:
    assert compare(tidy([module("dot_product", **other)])) == []


def test_failed_cells_and_cores_are_left_out() -> None:
    failed = synthetic.ended(module("dot_product").cell, "out_of_memory", "17 GB")
    assert compare(tidy([failed, *synthetic.records()])) == []
