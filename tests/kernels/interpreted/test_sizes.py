"""Many positions, and any shape."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.interpreted.subjects import Case, check


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_errors_do_not_grow_with_n(dtype: str) -> None:
    found = {}
    for n in (512, 16384):
        case = Case(n=n, m=n, d_k=16, d_v=16, dtype=dtype, mode="fwd_bwd")
        found[n] = check(case)
    assert all(large <= 2 * small for small, large in zip(found[512], found[16384], strict=True)), found


def test_65536_positions() -> None:
    check(Case(n=65536, m=65536, d_k=16, d_v=16, mode="fwd_bwd"))


cases = st.builds(
    Case, n=st.integers(1, 90), m=st.integers(1, 140), batch=st.integers(1, 2), heads=st.integers(1, 3), d_k=st.integers(2, 40),
    d_v=st.integers(1, 40), dtype=st.sampled_from(["float64", "float32"]), normalisation=st.just("softmax"),
    mask=st.sampled_from(["none", "padding"]), mode=st.just("fwd_bwd"),
)  # fmt: skip


@given(cases)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape(many_parts: None, case: Case) -> None:
    check(case, limit=4e-6 if case.dtype == "float32" else 4e-14)
