"""Who measures on a device alone, what others are told, and that a shared folder can't be turned against anybody."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.errors import WorkerError
from fabench.sweep.lock import _key, exclusive

CPU = {"cpu": {"name": "a processor"}}
HOLDER = """
import sys
from fabench.sweep.lock import exclusive
with exclusive({"cpu": {}}, lambda text: print(text, flush=True), wait=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "shared"
    made.mkdir()
    monkeypatch.setenv("FABENCH_LOCKS", str(made))
    return made


def silent(text: str) -> None:
    raise AssertionError(text)


@contextmanager
def another() -> Iterator[subprocess.Popen[str]]:
    """Another process that takes the CPU, and keeps it until its input ends."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_one_is_told_who_and_what_to_do(folder: Path) -> None:
    with exclusive(CPU, silent):
        with pytest.raises(WorkerError) as error, exclusive(CPU, silent, mend="take a walk"):
            pass
        assert str(error.value).startswith(f"cpu is in use by another fabench (process {os.getpid()}, since 20")
        assert str(error.value).endswith("Z); take a walk")
    with exclusive(CPU, silent):
        pass
    assert [path.name for path in folder.iterdir()] == ["fabench-cpu.lock"]


def test_a_board_is_one_device_whatever_it_is_called() -> None:
    with exclusive({"cuda": {"uuid": "aaaa"}}, silent):
        with exclusive({"cuda:1": {"uuid": "bbbb"}, "cpu": {}}, silent):
            pass
        with pytest.raises(WorkerError, match=r"^cuda:0 is in use"), exclusive({"cuda:0": {"uuid": "aaaa"}, "cpu": {}}, silent):
            pass
        with exclusive(CPU, silent):  # the one that was refused kept nothing
            pass


def test_what_is_not_there_or_scripted_is_nobodys(folder: Path) -> None:
    with exclusive({"cuda": {"missing": "no driver"}, "null": {"scripted": True}}, silent):
        assert list(folder.iterdir()) == []


def test_the_kernel_gives_it_back_when_the_holder_is_killed() -> None:
    with another() as holder:
        assert line(holder) == "held"
        with pytest.raises(WorkerError, match=f"process {holder.pid}, since"), exclusive(CPU, silent):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(CPU, silent):
            pass


def test_children_of_the_holder_do_not_keep_it() -> None:
    with exclusive(CPU, silent):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        with exclusive(CPU, silent):
            pass
    finally:
        child.communicate()


@pytest.mark.parametrize("removed", [False, True])
def test_waiting(folder: Path, removed: bool) -> None:
    path = folder / "fabench-cpu.lock"
    with ExitStack() as held:
        held.enter_context(exclusive(CPU, silent))
        with another() as waiting:
            first = line(waiting)
            assert first.startswith(f"cpu is in use by another fabench (process {os.getpid()}, since ")
            assert first.endswith("; waiting for it to end")
            if removed:
                path.unlink()  # as a cleaner of /tmp does
            held.close()
            assert line(waiting) == "held"
            assert path.read_text().startswith(f"fabench {waiting.pid} ")
            with pytest.raises(WorkerError), exclusive(CPU, silent):
                pass


@pytest.mark.parametrize("place", ["missing", "file"])
def test_without_a_folder_it_warns_and_goes_on(folder: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("FABENCH_LOCKS", str(folder / place))
    said: list[str] = []
    with exclusive(CPU, said.append):
        pass
    (warning,) = said
    assert warning.startswith(f"no lock on cpu: {folder / place / 'fabench-cpu.lock'}: ")
    assert warning.endswith("; another fabench that uses it would not be noticed")


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "empty hard link", "pipe", "folder", "text", "long"])
def test_what_others_put_in_its_place_is_left_alone(folder: Path, tmp_path: Path, kind: str) -> None:
    victim, path = tmp_path / "victim", folder / "fabench-cpu.lock"
    content = "" if kind == "empty hard link" else "precious\n"
    victim.write_text(content)
    match kind:
        case "symlink":
            path.symlink_to(victim)
        case "dangling":
            path.symlink_to(tmp_path / "new")
        case "hard link" | "empty hard link":
            os.link(victim, path)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("somebody else's\n")
        case "long":
            path.write_text("fabench 1 2026-01-31T12:00:00Z".ljust(63) + "\n" + "more\n")
    before = path.lstat()
    said: list[str] = []
    with exclusive(CPU, said.append):
        pass
    assert len(said) == 1
    assert victim.read_text() == content
    assert not (tmp_path / "new").exists()
    after = path.lstat()
    assert (after.st_mode, after.st_size, after.st_ino) == (before.st_mode, before.st_size, before.st_ino)


def test_every_user_may_lock_what_another_made(folder: Path) -> None:
    mask = os.umask(0o077)
    try:
        with exclusive(CPU, silent):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((folder / "fabench-cpu.lock").stat().st_mode) == 0o666


def test_a_later_holder_replaces_the_earlier_one_whole(folder: Path) -> None:
    path = folder / "fabench-cpu.lock"
    path.write_text("fabench 4194304999 2026-01-31T12:00:00Z".ljust(63) + "\n")
    with exclusive(CPU, silent):
        assert path.read_text().split()[:2] == ["fabench", str(os.getpid())]
        assert path.stat().st_size == 64


@given(st.text(), st.text())
def test_no_name_leaves_the_folder(name: str, uuid: str) -> None:
    for key in (_key(name, {"uuid": uuid}), _key(name, {})):
        assert Path(f"/locks/fabench-{key}.lock").parent == Path("/locks")
        assert "\0" not in key
        assert len(key) <= 80


def test_a_command_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fabench", "check", "quick", "--device", "cpu", "--n", "64"]
    with exclusive(CPU, silent):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 4
    assert result.stdout == ""
    assert " ".join(result.stderr.split()).startswith(f"fabench: cpu is in use by another fabench (process {os.getpid()}, since ")
    assert " ".join(result.stderr.split()).endswith("Z); wait for it with --wait, or take another device with --device")
