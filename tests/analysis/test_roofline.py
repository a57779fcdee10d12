from dataclasses import replace

import pytest

from fabench.analysis.frame import tidy
from fabench.analysis.roofline import RooflinePoint, roofline
from fabench.schema import Case, Cell, Environment, Record
from tests import synthetic

CASE = Case(n=1024, m=1024, heads=2)
BYTES = 4 * 2 * 4 * 1024 * 64  # Q, K, V and O once each
FLOP = 2 * 2 * 1024 * 1024 * 128


def cell(time_s: float, case: Case = CASE, device: str = "cpu") -> Record:
    return synthetic.measured(Cell("dot_product", device, case), [time_s] * 9)


def point(record: Record, environment: Environment | None = None) -> RooflinePoint:
    known = environment or synthetic.environment()
    (found,) = roofline(tidy([record], [known]), known)
    return found


def test_rates_and_shares() -> None:
    found = point(cell(0.1))
    assert (found.bytes_per_s, found.flop_per_s) == pytest.approx((BYTES / 0.1, FLOP / 0.1))
    assert found.intensity == pytest.approx(FLOP / BYTES) and found.flop_source == "counted"
    assert found.copy_share == pytest.approx(BYTES / 0.1 / 9.1e9)
    assert found.product_share == pytest.approx(FLOP / 0.1 / 4.2e10)
    assert found.bound == "compute" and not found.impossible and found.note == ""


def test_low_intensity_is_bound_by_bandwidth() -> None:
    case = replace(CASE, n=16, m=16)
    assert FLOP / BYTES > 4.2e10 / 9.1e9 > point(cell(0.1, case)).intensity
    assert point(cell(0.1, case)).bound == "bandwidth"


def test_faster_than_the_product_peak_is_impossible() -> None:
    found = point(cell(FLOP / 4.2e10 / 1.2))
    assert found.impossible and found.note.endswith("would be 120% of the measured matrix-product peak")
    assert not point(cell(FLOP / 4.2e10 / 1.04)).impossible


def test_faster_than_copying_is_impossible_unless_the_cache_is_hot() -> None:
    large = replace(CASE, n=2**20, m=2**20)
    traffic = 1024 * BYTES
    record = replace(synthetic.measured(Cell("factorized_plain", "cpu", large), [traffic / 9.1e9 / 1.5] * 9), flop=1)
    assert point(record).impossible and point(record).note.endswith("would be 150% of the measured copy bandwidth")
    small = replace(cell(BYTES / 9.1e9 / 1.5), flop=1)
    assert not point(small).impossible and point(small).note == "150% of the measured copy bandwidth, from a hot cache"
    assert small.timing is not None
    assert point(replace(small, timing=replace(small.timing, cache="cold"))).impossible


@pytest.mark.parametrize("flop", [None, 0])
def test_uncounted_flops_are_predicted(flop: int | None) -> None:
    found = point(replace(cell(0.1), flop=flop))
    assert found.flop_source == "predicted" and found.flop_per_s == pytest.approx(FLOP / 0.1)


def test_unknown_peaks_are_none() -> None:
    found = point(cell(0.1), replace(synthetic.environment(), devices={}))
    assert (found.copy_share, found.product_share, found.bound, found.impossible) == (None, None, None, False)
    half = point(cell(0.1, replace(CASE, dtype="float16")))
    assert half.copy_share is not None and half.product_share is None and half.bound is None


def test_a_numbered_device_takes_the_peaks_of_its_kind() -> None:
    assert point(cell(0.1, device="cuda:1")).copy_share == pytest.approx(BYTES / 0.1 / 2.8e12)


def test_only_cells_with_a_time() -> None:
    records = synthetic.records()
    found = roofline(tidy(records, [synthetic.environment()]), synthetic.environment())
    assert [point.cell_id for point in found] == [record.cell.id for record in records if record.timing is not None]
    assert len(found) == 27
