"""Killed anywhere, a state comes to the same end; and one process at a time works on it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes import arrays, folder_in_memory, outcome, run
from oddlot.durable import POINTS, crash_from_environment, no_crash
from oddlot.errors import ConfigError, StateLocked
from oddlot.store import Store

SCRIPT = Path(__file__).with_name("crashes.py")


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


def test_a_kill_at_any_point_changes_nothing_in_the_end() -> None:
    with folder_in_memory() as root:
        run(root / "whole")
        reference = outcome(root / "whole")
        places = [f"{point}:1" for point in POINTS]
        result = subprocess.run(
            [sys.executable, SCRIPT, root, *places], capture_output=True, text=True, check=True
        )
        reached = result.stdout.split()
        assert set(reached) >= {f"{point}:1" for point in POINTS}
        for place in reached:
            assert outcome(root / place) == reference, place


class Killed(BaseException):
    """The end of a process, without its end."""


class Disk:
    """What is sure to be there after power loss: synced bytes under synced names.

    SQLite looks after its own files.
    """

    def __init__(self) -> None:
        self.synced: dict[int, bytes] = {}
        self.sync = os.fsync

    def fsync(self, descriptor: int) -> None:
        self.sync(descriptor)
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):
            self.synced[state.st_ino] = "/".join(os.listdir(descriptor)).encode()
        else:
            # By its other name: the descriptor may be one for writing only.
            self.synced[state.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def lose_power(self, folder: Path) -> None:
        names = self.synced.get(folder.stat().st_ino, b"").decode().split("/")
        for path in folder.iterdir():
            if path.name.startswith("oddlot."):
                continue
            if path.name not in names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_dir():
                self.lose_power(path)
            else:
                path.write_bytes(self.synced.get(path.stat().st_ino, b""))


@pytest.mark.parametrize("power_is_lost", [False, True])
def test_a_stop_at_every_boundary_in_turn_changes_nothing_in_the_end(
    monkeypatch: pytest.MonkeyPatch, power_is_lost: bool
) -> None:
    monkeypatch.setattr("crashes.STEPS", 2)
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.fsync)
    with folder_in_memory() as root:
        run(root / "whole")
        reference = outcome(root / "whole")
        for stop in range(1, 1_000):
            seen: list[str] = []

            def crash(point: str, seen: list[str] = seen, stop: int = stop) -> None:
                seen.append(point)
                if len(seen) == stop:
                    raise Killed

            place = root / f"{stop}"
            try:
                run(place, crash)
            except Killed:
                if power_is_lost:
                    for part in place.iterdir():
                        disk.lose_power(part)
                run(place)
                assert outcome(place) == reference, seen[-1]
            else:
                break
        assert len(seen) > 40
        assert stop == len(seen) + 1


def test_a_crash_point_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be point:n with one of: .*rows\.sync"):
        crash_from_environment({"ODDLOT_CRASH_AT": "rows.snyc:1"})
    assert crash_from_environment({}) is no_crash


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"import os, sys, signal\nfrom pathlib import Path\n{code}"]
        + [str(argument) for argument in arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


OPEN = """
from oddlot.store import Store
store = Store.open(Path(sys.argv[1]))
"""


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_user_is_refused_and_told_who_is_first_until_that_one_dies(folder: Path) -> None:
    # The first one's own child outlives it: a lock that it inherited would never end.
    first = start(
        OPEN
        + """
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
signal.pause()
""",
        folder,
    )
    child = int(said(first))
    try:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(StateLocked, match=rf"process {first.pid} on .+, started 2.+:") as error:
            Store.open(folder)
        assert error.value.exit_code == 3
        with Store.read(folder) as reader:
            assert reader.load() is None
        first.kill()
        first.wait()
        Store.open(folder).close()
    finally:
        first.kill()
        os.kill(child, signal.SIGKILL)
        first.communicate()


def test_a_second_opener_in_the_same_process_is_refused(folder: Path) -> None:
    with Store.open(folder):
        with pytest.raises(StateLocked, match=f"process {os.getpid()} on"):
            Store.open(folder / "." / "")
        with pytest.raises(StateLocked):
            Store.open(folder)
    Store.open(folder).close()


def test_one_that_lost_the_folder_in_its_sleep_cannot_commit(folder: Path) -> None:
    sleeper = start(
        OPEN
        + """
store.commit(b"1", {})
print("ready", flush=True)
sys.stdin.readline()
for attempt in (lambda: store.commit(b"sleeper", {}), lambda: store.add_alerts([])):
    try:
        attempt()
    except Exception as error:
        print(type(error).__name__, flush=True)
""",
        folder,
    )
    assert said(sleeper) == "ready"
    (folder / "oddlot.lock").unlink()  # as a shared disk loses it
    with Store.open(folder) as store:
        store.commit(b"2", arrays(2))
        out, _ = sleeper.communicate("\n")
        assert out.split() == ["StateLocked", "StateLocked"]
        saved = store.load()
        assert saved is not None
        assert saved.meta == b"2"
