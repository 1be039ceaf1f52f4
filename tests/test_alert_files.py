"""Alert files hold what was committed and, after it, whole records only."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crashes import folder_in_memory
from oddlot.alert_files import AlertFiles
from oddlot.durable import StorageError, no_crash
from oddlot.errors import StateError

HEADER = b"sku,quantity\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


def opened(folder: Path, positions: dict[str, int], rotate_bytes: int = 0) -> AlertFiles:
    files = AlertFiles(folder, "csv", rotate_bytes=rotate_bytes, crash=no_crash)
    files.restore(positions)
    return files


def content(folder: Path, detector: str = "low_quantity") -> bytes:
    """Return all that a detector wrote, over all its files."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{detector}*.csv")))


def test_bytes_go_in_and_the_position_comes_out(folder: Path) -> None:
    with opened(folder, {}) as files:
        assert files.append("low_quantity", b"A,3\n", HEADER) == 17
        assert files.append("low_quantity", memoryview(b"B,4\n"), HEADER) == 21
        assert files.append("other", b"C,5\n") == 4
        files.sync()
        assert files.positions() == {"low_quantity": 21, "other": 4}
    assert content(folder) == HEADER + b"A,3\nB,4\n"


def test_what_came_after_the_checkpoint_is_cut_off(folder: Path) -> None:
    with opened(folder, {}) as files:
        files.append("low_quantity", b"A,3\n", HEADER)
        files.sync()
        committed = files.positions()
        files.append("low_quantity", b"B,4\n", HEADER)
    with opened(folder, committed) as files:
        assert content(folder) == HEADER + b"A,3\n"
        assert files.append("low_quantity", b"B,4\n", HEADER) == 21
    assert content(folder) == HEADER + b"A,3\nB,4\n"


def test_a_file_of_which_nothing_was_committed_is_set_aside_and_named(folder: Path) -> None:
    for number in (b"1\n", b"2\n"):
        with opened(folder, {}) as files:
            files.append("low_quantity", number)
    (note,) = AlertFiles(folder, "csv").restore({})
    assert "nothing of it was committed; moved to" in note
    kept = sorted(path.read_bytes() for path in (folder / "quarantine").iterdir())
    assert kept == [b"1\n", b"2\n"]


def test_a_file_shorter_than_committed_is_refused(folder: Path) -> None:
    with opened(folder, {}) as files:
        files.append("low_quantity", b"A,3\nB,4\n")
    os.truncate(folder / "low_quantity.csv", 5)
    with pytest.raises(StateError, match="must have the 8 bytes that were committed; got 5"):
        opened(folder, {"low_quantity": 8})


def test_files_that_were_moved_away_are_no_error(folder: Path) -> None:
    with opened(folder, {}) as files:
        files.append("low_quantity", b"A,3\n", HEADER)
        committed = files.positions()
    (folder / "low_quantity.csv").unlink()
    files = AlertFiles(folder, "csv")
    (note,) = files.restore(committed)
    assert "goes on without the files before it" in note
    with files:
        assert files.append("low_quantity", b"B,4\n", HEADER) == 34
    assert (folder / "low_quantity-000000000000017.csv").read_bytes() == HEADER + b"B,4\n"


def test_a_file_that_has_grown_enough_is_followed_by_another_with_its_own_header(
    folder: Path,
) -> None:
    with opened(folder, {}, rotate_bytes=20) as files:
        for number in range(6):
            files.append("low_quantity", b"%d,3\n" % number, HEADER)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "low_quantity-000000000000021.csv",
        "low_quantity-000000000000042.csv",
        "low_quantity.csv",
    ]
    assert all((folder / name).read_bytes().startswith(HEADER) for name in names)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), max_size=12),
    st.integers(0, 40),
    st.data(),
)
def test_going_back_to_any_checkpoint_and_writing_again_gives_the_same_files(
    appends: list[tuple[str, int]], rotate_bytes: int, data: st.DataObject
) -> None:
    records = [(name, b"%d" % at * size + b"\n") for at, (name, size) in enumerate(appends)]

    def write(files: AlertFiles, first: int) -> None:
        for name, record in records[first:]:
            files.append(name, record, HEADER)

    def found(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.csv")}

    with folder_in_memory() as folder:
        with opened(folder / "whole", {}, rotate_bytes) as files:
            write(files, 0)
            positions = files.positions()
        saved = data.draw(st.integers(0, len(records)))
        with opened(folder / "again", {}, rotate_bytes) as files:
            for name, record in records[:saved]:
                files.append(name, record, HEADER)
            committed = files.positions()
            write(files, saved)
        with opened(folder / "again", committed, rotate_bytes) as files:
            write(files, saved)
            assert files.positions() == positions
        assert found(folder / "again") == found(folder / "whole")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_half_record_and_the_same_call_succeeds_later(
    folder: Path, code: int
) -> None:
    refusals = 1

    def full(point: str) -> None:
        nonlocal refusals
        if point == "files.half" and refusals:
            refusals -= 1
            raise OSError(code, os.strerror(code))

    files = AlertFiles(folder, "csv", crash=full)
    files.restore({})
    with files:
        with pytest.raises(StorageError, match="free some space") as refused:
            files.append("low_quantity", b"A,3\n", HEADER)
        assert refused.value.full
        assert content(folder) == b""
        assert files.append("low_quantity", b"A,3\n", HEADER) == 17
        files.sync()
    assert content(folder) == HEADER + b"A,3\n"


def test_after_a_failed_sync_nothing_is_written_until_restored(folder: Path) -> None:
    failures = 1

    def broken(point: str) -> None:
        nonlocal failures
        if point == "files.sync" and failures:
            failures -= 1
            raise OSError(errno.EIO, "Input/output error")

    files = AlertFiles(folder, "csv", crash=broken)
    files.restore({})
    with files:
        files.append("low_quantity", b"A,3\n")
        with pytest.raises(StorageError, match="check the disk") as refused:
            files.sync()
        assert not refused.value.full
        for attempt in (files.sync, lambda: files.append("low_quantity", b"B,4\n")):
            with pytest.raises(StorageError, match="must be restored"):
                attempt()
        files.restore({})
        assert files.append("low_quantity", b"A,3\n") == 4
        files.sync()


def test_a_write_cut_short_by_the_system_is_taken_back(folder: Path) -> None:
    """The first write past a limit returns short; only the next one fails."""
    code = f"""
import resource, sys
from pathlib import Path
from oddlot.alert_files import AlertFiles
files = AlertFiles(Path(sys.argv[1]), "csv")
files.restore({{}})
files.append("low_quantity", b"A,3\\n" * 250)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, {resource.RLIM_INFINITY}))
try:
    files.append("low_quantity", b"B,4\\n" * 250)
except Exception as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    ).stdout
    assert said.endswith("File too large; raise the limit of file size (ulimit -f)\n")
    assert content(folder) == b"A,3\n" * 250


def test_nothing_is_appended_before_it_is_known_where(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="restore comes before append"):
        AlertFiles(folder, "csv").append("low_quantity", b"")


@pytest.mark.parametrize("name", ["../secret", "", ".hidden", "a/b", "a b", "-x"])
def test_a_name_that_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    with opened(folder, {}) as files, pytest.raises(ValueError, match="fit for a file"):
        files.append(name, b"x\n")


def test_another_programs_files_in_the_folder_stay(folder: Path) -> None:
    for name in ("notes.txt", "low_quantity.jsonl"):
        (folder / name).write_text("mine")
    with opened(folder, {}) as files:
        files.append("low_quantity", b"A,3\n")
    assert (folder / "notes.txt").read_text() == (folder / "low_quantity.jsonl").read_text()
