"""The paper's cost table beside what was measured: bytes and operations that must agree exactly, on any device.

Source: arXiv 1812.01243 v1 ("Factorized Attention: Self-Attention with Linear Complexities", 4 December 2018), section 3 and Figure 4:
one module with c = d_v = 64, d_k = 32, one head, float32, decimal units. v1 counts per image (b = d_k, c = d_v = C)

    memory       FA (2b + 3c) n + b c floats        DP (2b + 3c) n + n^2 floats
    operations   FA (8 b c + 2 c^2) n               DP (2 b c + c^2) n + (2b + 2c) n^2      printed as "MACC": see `ERRATA`

(`cost.paper_floats`, `cost.paper_operations`). What corresponds to it in PyTorch:

- bytes: what autograd keeps for backward, the input included, less the convolutions' weights. v1's count has a c n for the output of
  the attention. A module with reprojection keeps that tensor; without one it is the module's output, which autograd does not keep, so
  its bytes are added;
- operations: FLOPs are 2 x true multiply-accumulates, those of the reprojection included where there is one; backward takes twice the
  forward's. The paper's own figures are quoted beside them, never compared with a FLOP count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from fabench import cost
from fabench.schema import Case

__all__ = ["CHANNELS", "D_K", "ERRATA", "INPUTS", "Erratum", "Expected", "PaperRow", "compare", "expected"]

CHANNELS, D_K = 64, 32
_WIDTHS = {"channels": CHANNELS, "d_v": CHANNELS, "d_k": D_K, "heads": 1, "batch": 1, "pool": 1}
# What the paper calls the input, and its positions.
INPUTS: tuple[tuple[str, int], ...] = (
    ("32x32", 32**2), ("64x64", 64**2), ("128x128", 128**2), ("256x256", 256**2), ("64x64x32", 64 * 64 * 32),
)  # fmt: skip
_COLUMNS = (
    "cell_id", "implementation", "setting", "device", "n", "batch", "heads", "d_k", "d_v", "channels", "pool", "reprojection", "mode",
    "scope", "dtype", "mask", "time_order", "memory_order", "status", "saved_bytes", "output_bytes", "flop", "predicted_flop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Erratum:
    """A slip in v1's figures; shown with them, never mended in silence."""

    number: int
    text: str


ERRATA: tuple[Erratum, ...] = (
    Erratum(1, '"412 GMACC" at 256x256 is the true multiply-accumulate figure; by the convention of all others it is 825.'),
    Erratum(2, "The dot product's projection term is half of the factorized one's convention (ratio 32.33 would be 32.67)."),
    Erratum(
        3, '"32x less memory" for 64x64x32 needs c = 1024; with c = 64 it is 513x, while its 1025x computation needs c = 64.'
    ),
    Erratum(4, "The multi-head dot product's operations contradict the text's O(h n^2)."),
    Erratum(5, "Table 2's caption conflicts with Tables 1 and 3; ResNeXt-101 is 45.9 in Table 5 and 44.9 in Table 4."),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One line of the paper's table. DP is the dot-product module, FA the factorized one. Bytes without weights; MACs true ones."""

    input: str
    n: int
    dp_bytes: int
    fa_bytes: int
    dp_operations: int
    fa_operations: int
    dp_mac: int
    fa_mac: int

    @property
    def bytes_ratio(self) -> float:
        """DP / FA in bytes."""
        return self.dp_bytes / self.fa_bytes

    @property
    def operations_ratio(self) -> float:
        """DP / FA in v1's printed operations."""
        return self.dp_operations / self.fa_operations


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One measured cell beside the paper. `role` is "DP", "FA", or "streaming" (quadratic time without a map: no bytes expected).

    `measured_bytes`: kept for backward less weights. `expected_flop`: this cell's, 2 x its true MACs (`paper_mac` is the table's,
    forward and without reprojection). `bytes_off`, `flop_off`: measured less expected, None where one side is unknown. `measured_ratio`: DP / FA in
    measured bytes, against the FA cell of the same setting and n, on DP rows only.
    """

    input: str
    n: int
    cell_id: str
    implementation: str
    setting: str
    device: str
    mode: str
    role: str
    expected_bytes: int | None
    measured_bytes: int | None
    bytes_off: int | None
    expected_flop: int
    counted_flop: int | None
    flop_off: int | None
    paper_operations: int
    paper_mac: int
    expected_ratio: float
    measured_ratio: float | None


def _case(n: int) -> Case:
    return Case(
        n=n, m=n, d_k=D_K, d_v=CHANNELS, scope="module", channels=CHANNELS, reprojection=False, residual=False, pool=1
    )  # fmt: skip


def expected() -> list[Expected]:
    """The paper's table."""
    return [
        Expected(
            name, n,
            *(4 * cost.paper_floats(n, D_K, CHANNELS, order) for order in (2, 1)),
            *(cost.paper_operations(n, D_K, CHANNELS, order) for order in (2, 1)),
            *(cost.of(_case(n), order, order).mac for order in (2, 1)),
        )
        for name, n in INPUTS
    ]  # fmt: skip


def compare(frame: pd.DataFrame) -> list[PaperRow]:
    """The cells that the paper's table speaks of: module scope, its widths, float32, one image, no mask, no pooling, status ok."""
    columns: dict[str, list[Any]] = {name: frame[name].tolist() for name in _COLUMNS}
    table = {line.n: line for line in expected()}
    rows = (dict(zip(_COLUMNS, values, strict=True)) for values in zip(*columns.values(), strict=True))
    found = [_row(row, table[row["n"]]) for row in rows if row["n"] in table and _speaks_of(row)]
    return _with_ratios(sorted(found, key=lambda row: (row.n, row.setting, row.role, row.implementation)))


def _speaks_of(row: dict[str, Any]) -> bool:
    fits = row["scope"] == "module" and row["dtype"] == "float32" and row["mask"] == "none" and row["status"] == "ok"
    return fits and math.isfinite(row["time_order"]) and all(row[name] == value for name, value in _WIDTHS.items())


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _row(row: dict[str, Any], line: Expected) -> PaperRow:
    quadratic = row["time_order"] == 2
    role = "streaming" if row["time_order"] != row["memory_order"] else "DP" if quadratic else "FA"
    expected_bytes = {"DP": line.dp_bytes, "FA": line.fa_bytes, "streaming": None}[role]
    measured_bytes, counted, expected_flop = _measured_bytes(row), _whole(row["flop"]), int(row["predicted_flop"])
    return PaperRow(
        line.input, line.n, row["cell_id"], row["implementation"], row["setting"], row["device"], row["mode"], role,
        expected_bytes, measured_bytes,
        bytes_off=None if measured_bytes is None or expected_bytes is None else measured_bytes - expected_bytes,
        expected_flop=expected_flop, counted_flop=counted, flop_off=None if counted is None else counted - expected_flop,
        paper_operations=line.dp_operations if quadratic else line.fa_operations,
        paper_mac=line.dp_mac if quadratic else line.fa_mac, expected_ratio=line.bytes_ratio, measured_ratio=None,
    )  # fmt: skip


def _measured_bytes(row: dict[str, Any]) -> int | None:
    saved, output = _whole(row["saved_bytes"]), _whole(row["output_bytes"])
    if saved is None or output is None:
        return None
    weights = 4 * CHANNELS * (2 * D_K + CHANNELS + (CHANNELS if row["reprojection"] else 0))
    return saved - weights + (0 if row["reprojection"] else output)


def _with_ratios(rows: Sequence[PaperRow]) -> list[PaperRow]:
    factorized: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.role == "FA" and row.measured_bytes:
            factorized.setdefault((row.setting, row.n), row.measured_bytes)
    return [
        replace(row, measured_ratio=row.measured_bytes / factorized[row.setting, row.n])
        if row.role == "DP" and row.measured_bytes is not None and (row.setting, row.n) in factorized
        else row
        for row in rows
    ]
