"""What holds for all tests: their fabench leaves devices to others, and others' to them."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Several test processes, and whoever measures beside them, must not wait for each other's devices."""
    before = os.environ.get("FABENCH_LOCKS")
    os.environ["FABENCH_LOCKS"] = str(tmp_path_factory.mktemp("locks"))
    yield
    if before is None:
        del os.environ["FABENCH_LOCKS"]
    else:
        os.environ["FABENCH_LOCKS"] = before
