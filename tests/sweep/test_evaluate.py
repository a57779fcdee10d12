"""The parent's side of an evaluation, against processes that behave and that don't."""

import json
from pathlib import Path

import pytest

from fabench.accuracy import Evaluation, StereoErrors, StereoResult
from fabench.codec import encode
from fabench.errors import DataError, UsageError, WorkerError
from fabench.sweep.evaluate import evaluated
from tests.sweep.conftest import StandIn, said

MEANS = StereoErrors(0.5, 0.1, 0.05)
STEREO = StereoResult(2, 10, 1, 0, 0, ("b",), 192.0, 1, MEANS, None)
RESULT = Evaluation("stereo", "kitti", "data", None, "a.pt", "00", {"where": "layer4"}, "cpu", None, STEREO)


def test_progress_and_the_result_come_back(child: StandIn) -> None:
    child("\n".join([
        "sys.stderr.write('a library says something' * 20000)",  # more than a pipe holds
        said('{"event": "progress", "done": 1, "total": 2}'),
        said(f'{{"event": "result", "value": {encode(RESULT)}}}'),
    ]))  # fmt: skip
    told: list[tuple[int, int]] = []
    assert evaluated({"task": "stereo"}, lambda done, total: told.append((done, total))) == RESULT
    assert told == [(1, 2)]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (said('{"event": "error", "kind": "DataError", "text": "x is missing"}'), DataError, "^x is missing$"),
        (said('{"event": "error", "kind": "UsageError", "text": "no such"}'), UsageError, "^no such$"),
        (said('{"event": "error", "kind": "ExitCode", "text": "odd"}'), WorkerError, "^odd$"),
        (said("no json"), WorkerError, "said something else than a result"),
        (said('{"event": "result", "value": {"task": 3}}'), WorkerError, "said something that is no result"),
        ("sys.exit('Traceback\\nValueError: deep inside')", WorkerError, "ended early: ValueError: deep inside"),
        ("os.kill(os.getpid(), signal.SIGKILL)", WorkerError, "ended early: killed by signal 9"),
        ("pass", WorkerError, "ended early: exit code 0"),
    ],
)
def test_every_other_end_is_one_line(child: StandIn, body: str, kind: type[Exception], words: str) -> None:
    child(body)
    with pytest.raises(kind, match=words) as caught:
        evaluated({"task": "stereo"}, lambda done, total: None)
    assert "\n" not in str(caught.value)


def test_an_interruption_ends_the_process(child: StandIn, tmp_path: Path) -> None:
    child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
          + said('{"event": "progress", "done": 1, "total": 2}') + "\nsignal.pause()")  # fmt: skip

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated({"task": "stereo"}, interrupt)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_the_request_reaches_the_process_whole(child: StandIn) -> None:
    request = {"task": "stereo", "options": {"attention.d_k": 8, "crop": [32, 48]}, "split": None}
    child(
        f"assert request == json.loads({json.dumps(request)!r})\n{said(json.dumps({'event': 'error', 'kind': 'DataError', 'text': 'fine'}))}"
    )
    with pytest.raises(DataError, match="fine"):
        evaluated(request, lambda done, total: None)
