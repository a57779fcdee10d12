"""What the tests of NVML ask, each in a process of its own, forked after torch was imported and before NVML is: as a cell is.

    python -m tests.devices.nvml_probe       one JSON request a line on standard input, one JSON answer a line on standard output

The library path is read when a process starts, the library itself when pynvml is first used: the tests change it between requests.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from fabench.devices import _nvml, _nvml_board, _nvml_observer
from fabench.devices.base import Observer
from fabench.schema import to_json


def _board(uuid: str | None) -> _nvml.Board:
    found = _nvml.board(uuid)
    assert found is not None, _nvml.missing()
    return found


def find(uuids: list[str | None]) -> Any:
    """Which board each UUID leads to, and why none."""
    answers = []
    for uuid in uuids:
        found = _nvml.board(uuid)
        answers.append([found and found.uuid, _nvml.missing()])
    return answers


def facts(uuid: str) -> Any:
    """Facts, and what failed."""
    board = _board(uuid)
    return [board.facts(), board.failed]


def memory(uuid: str) -> Any:
    """This process's bytes, and the device's."""
    return _board(uuid).memory()


def energy(uuid: str, times: int) -> Any:
    """Some readings of the energy counter."""
    board = _board(uuid)
    return [board.energy_j() for _ in range(times)]


def looks(uuid: str, times: int) -> Any:
    """Some looks, and what failed."""
    board = _board(uuid)
    return [[json.loads(to_json(board.look(float(index)))) for index in range(times)], board.failed, board.is_lost]


def observe(uuid: str, times: int) -> Any:
    """A timing's telemetry, with `times` looks between the first and the last."""
    _nvml_observer._APART_S, _nvml_observer._SHARE = 0.0, float("inf")
    observer = _nvml.GpuObserver(_board(uuid), Observer())
    for _ in range(times):
        observer.look()
    return json.loads(to_json(observer.finish()))


def fork_again(uuid: str) -> Any:
    """Finds a board twice, and once more in a child."""
    _board(uuid)
    _board(uuid)
    child = os.fork()
    if child == 0:
        os._exit(0 if _nvml.board(uuid) is not None else 1)
    return os.waitstatus_to_exitcode(os.wait4(child, 0)[1])


def errors(codes: list[int]) -> Any:
    """Which of NVML's error codes mean that the GPU is lost."""
    import pynvml

    return [_nvml.lost(pynvml.NVMLError(code)) for code in codes] + [_nvml.lost(ValueError("15")), _nvml.lost(OSError(15, ""))]


ASKED: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (find, facts, memory, energy, looks, observe, fork_again, errors)
}


def _older_package(names: list[str], returns_bytes: bool) -> None:
    """pynvml as an older one was: without some functions, or with bytes where the newer one has text."""
    import pynvml

    for name in names:
        delattr(pynvml, name)
    if returns_bytes:
        for name in ("nvmlSystemGetDriverVersion", "nvmlDeviceGetVbiosVersion", "nvmlDeviceGetUUID"):
            setattr(pynvml, name, getattr(pynvml, name).__wrapped__)


def _answer(request: dict[str, Any]) -> Any:
    os.environ.update(request["environment"])
    namespace = os.readlink("/proc/self/ns/pid") if request["same_ids"] else "pid:[1]"  # noqa: PTH115
    _nvml_board._FIRST_PID_NAMESPACE = namespace
    _older_package(request["without"], request["returns_bytes"])
    return ASKED[request["ask"]](*request["arguments"])


def main() -> None:
    """Forks for each request. A child that dies, or raises, answers with that."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                answer = {"value": _answer(json.loads(line)), "pid": os.getpid()}
            except BaseException as error:
                answer = {"raised": f"{type(error).__name__}: {error}"}
            os.write(1, (json.dumps(answer) + "\n").encode())
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.wait4(child, 0)[1])
        if status != 0:
            os.write(1, (json.dumps({"raised": f"died: {status}"}) + "\n").encode())


if __name__ == "__main__":
    main()
