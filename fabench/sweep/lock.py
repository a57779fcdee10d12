"""Exclusive use of a device: one fabench at a time measures on it, because two would time each other.

An advisory lock (flock) on a file per device, named after the GPU's UUID or "cpu", held by the parent as long as it measures. The kernel
gives it back when the holder ends, however it ends; the file stays and means nothing by itself. Who holds it is written into it, for
the one line that another fabench says before it gives up, or waits.

All users of a host share the folder: /tmp, or the one that FABENCH_LOCKS names. So a file there may be anybody's: links are not
followed, a file that does not look like such a lock is left alone, nothing is truncated, and every user may lock what another made.
Where no lock can be had, that is said and measuring goes on. What the lock can't see (another host's container with a /tmp of its own,
any other program), the telemetry of each cell does.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fabench.environment import utc_now
from fabench.errors import WorkerError

__all__ = ["exclusive"]

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place must not stop us
_LINE = re.compile(rb"fabench (\d{1,10}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) *\n")
_LINE_BYTES = 64  # always as long, so that a write replaces an older line whole


class _NoLockFile(Exception):
    """What stands at a lock's place is none."""


@contextmanager
def exclusive(
    devices: Mapping[str, Mapping[str, Any]],
    say: Callable[[str], None],
    wait: bool = False,
    mend: str = "wait until it has ended",
) -> Iterator[None]:
    """Holds the locks of all real devices among `devices` (name -> facts); scripted and missing ones need none.

    A device that another fabench uses: raises WorkerError that ends with `mend`, or says so and waits. `say` gets lines for the user.
    """
    keys = {_key(name, facts): name for name, facts in devices.items() if "missing" not in facts and not facts.get("scripted")}
    folder = Path(os.environ.get("FABENCH_LOCKS") or "/tmp")
    with ExitStack() as held:
        for key, name in sorted(keys.items()):  # in one order, so that two that wait can't wait for each other
            path = folder / f"fabench-{key}.lock"
            try:
                descriptor = _hold(path, name, say, wait, mend)
            except (OSError, _NoLockFile) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                say(f"no lock on {name}: {path}: {why}; another fabench that uses it would not be noticed")
            else:
                held.callback(os.close, descriptor)
        yield


def _key(name: str, facts: Mapping[str, Any]) -> str:
    """One name for a device whatever it is called by ("cuda", "cuda:0"), fit for a file."""
    return re.sub(r"[^A-Za-z0-9-]", "-", str(facts.get("uuid") or name))[:80]


def _hold(path: Path, name: str, say: Callable[[str], None], wait: bool, mend: str) -> int:
    """The locked file. Raises WorkerError if another holds it, OSError or _NoLockFile if there can be no lock."""
    while True:
        descriptor = _open(path)
        try:
            _lock(descriptor, name, say, wait, mend)
            if _is_at(descriptor, path):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed meanwhile: whoever comes next would lock a new one


def _open(path: Path) -> int:
    """The file, made if need be. Without O_CREAT first: kernels refuse that on another user's file in a shared folder."""
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        try:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return _open(path)
        os.fchmod(descriptor, 0o666)  # whatever this user's mask is
        return descriptor
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        content = os.pread(descriptor, _LINE_BYTES + 1, 0)
        if content == b"" or _LINE.fullmatch(content):
            return descriptor
    os.close(descriptor)
    raise _NoLockFile("this is not a lock file of fabench")


def _lock(descriptor: int, name: str, say: Callable[[str], None], wait: bool, mend: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        busy = f"{name} is in use by another fabench ({_holder(descriptor)})"
    if not wait:
        raise WorkerError(f"{busy}; {mend}")
    say(f"{busy}; waiting for it to end")
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _holder(descriptor: int) -> str:
    found = _LINE.fullmatch(os.pread(descriptor, _LINE_BYTES + 1, 0))
    return f"process {found[1].decode()}, since {found[2].decode()}" if found else "it does not say which process"


def _sign(descriptor: int) -> None:
    line = f"fabench {os.getpid()} {utc_now()}".encode()
    os.pwrite(descriptor, line.ljust(_LINE_BYTES - 1) + b"\n", 0)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
