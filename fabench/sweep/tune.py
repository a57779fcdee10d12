"""The parent's side of `fabench tune`: one process that times, its lines as they come."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from fabench.errors import WorkerError

__all__ = ["answers"]


def answers(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the process says of each candidate and choice. Raises WorkerError where it can't tune, or ended early."""
    command = [sys.executable, "-m", "fabench.kernels.factorized.tune"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None and worker.stdout is not None and worker.stderr is not None
        worker.stdin.write(json.dumps(request))
        worker.stdin.close()
        for line in worker.stdout:
            message = json.loads(line)
            if message["event"] == "error":
                raise WorkerError(str(message["text"])[:300])
            yield message
        said = worker.stderr.read()
    if worker.returncode != 0:
        last = (said.strip().splitlines() or [f"exit code {worker.returncode}"])[-1]
        raise WorkerError(f"tuning ended early: {last[:300]}")
