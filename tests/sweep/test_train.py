"""The parent's side of a training, against processes that stand in for it: events, ends, and interruptions that are passed on."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fabench.codec import encode
from fabench.errors import TrainingError, WorkerError
from fabench.recipe import Trained
from fabench.sweep.train import trained
from tests.sweep.conftest import StandIn

DONE = Trained("stereo", 6, 2, 0.5, "out/step-00000006.pt", False)


def test_events_and_the_end_come_back(child: StandIn) -> None:
    child(f"say(event='step', step=1, loss=0.5)\nsay(event='result', value={encode(DONE)!r} and json.loads({encode(DONE)!r}))")
    told: list[dict[str, Any]] = []
    assert trained({}, told.append) == DONE
    assert told == [{"event": "step", "step": 1, "loss": 0.5}]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("say(event='error', kind='TrainingError', text='the loss is nan')", TrainingError, "^the loss is nan$"),
        ("say(event='result', value={'task': 'stereo'})", WorkerError, "the training said something that is no result"),
        ("say(step=1)", WorkerError, "the training said something else than a result"),
        ("sys.exit('Traceback\\nValueError: deep inside')", WorkerError, "the training ended early: ValueError: deep inside"),
        ("os.kill(os.getpid(), signal.SIGKILL)", WorkerError, "the training ended early: killed by signal 9"),
    ],
)
def test_every_other_end_is_one_line(child: StandIn, body: str, kind: type[Exception], words: str) -> None:
    child(body)
    with pytest.raises(kind, match=words) as caught:
        trained({}, lambda event: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_lets_the_process_end_in_its_own_way(child: StandIn, number: signal.Signals) -> None:
    stopped = encode(Trained("stereo", 3, 0, 0.5, "out/step-00000003.pt", True))
    child(
        f"def end(*_):\n    say(event='result', value=json.loads({stopped!r}))\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nsay(event='step', step=1)\nwhile True: signal.pause()"
    )
    before = signal.getsignal(number)
    assert trained({}, lambda event: os.kill(os.getpid(), number)).interrupted
    assert signal.getsignal(number) == before


def test_a_second_interruption_kills_it(child: StandIn, tmp_path: Path) -> None:
    child(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "signal.signal(signal.SIGTERM, lambda *_: say(event='step', step=2))\nsay(event='step', step=1)\nwhile True: signal.pause()"
    )
    with pytest.raises(WorkerError, match="the training ended early: killed by signal 9"):
        trained({}, lambda event: os.kill(os.getpid(), signal.SIGINT))
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
