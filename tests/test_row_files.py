"""Arrays come back bit for bit, or not at all."""

import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from crashes import ROW
from oddlot.durable import StorageError
from oddlot.errors import StateError
from oddlot.row_files import describe, read_rows, restore_dtype, write_rows
from oddlot.schema import LINE

Array = np.ndarray[Any, Any]
NESTED = np.dtype([("a", ">i4"), ("b", [("x", "u1"), ("y", "<f8", (2, 3))]), ("c", "?")])
SCALARS = st.sampled_from(
    [np.dtype(code) for code in ("?", "i1", "u1", "<i2", ">u2", "<i4", ">i8", "<f4", ">f8")]
)


def same_bytes(got: Array, given: Array) -> bool:
    """Compare values, NaN and negative zero included, whatever the byte order."""
    return got.shape == given.shape and (
        got.tobytes() == given.astype(got.dtype, order="C").tobytes()
    )


@settings(max_examples=40, deadline=None)  # each makes a file durable
@given(st.data())
def test_any_array_of_numbers_comes_back(data: st.DataObject) -> None:
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    given = {
        name: data.draw(npst.arrays(data.draw(SCALARS), data.draw(shapes)))
        for name in data.draw(st.lists(st.text(max_size=3), unique=True, max_size=3))
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        epoch, got = read_rows(path, write_rows(path, 7, given))
    assert epoch == 7
    assert list(got) == list(given)
    assert all(same_bytes(got[name], given[name]) for name in given)


def rewrite(path: Path, content: bytes) -> None:
    """Write in place: cutting a file to nothing first makes the disk wait each time."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


@pytest.mark.parametrize("dtype", [LINE, ROW, NESTED, np.dtype((ROW, (2,)))], ids=str)
def test_records_come_back_with_every_offset(dtype: np.dtype[Any], tmp_path: Path) -> None:
    base = dtype.newbyteorder("<")
    assert restore_dtype(describe(dtype)) == base
    raw = np.random.default_rng(1).integers(0, 2, 6 * dtype.itemsize).astype("u1")
    given = raw.view(dtype.base) if dtype.subdtype is None else raw.view(ROW).reshape(6, 2)
    path = tmp_path / "rows"
    got = read_rows(path, write_rows(path, 1, {"rows": given}))[1]["rows"]
    assert got.dtype.fields == given.dtype.newbyteorder("<").fields
    assert np.array_equal(got, given)


def test_what_comes_back_can_be_changed_and_lies_aligned(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    checksum = write_rows(path, 1, {"a": np.zeros(3, "u1"), "b": np.zeros(4, LINE)})
    _, got = read_rows(path, checksum)
    for array in got.values():
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.owndata


def test_an_array_that_is_no_block_of_memory_comes_back(tmp_path: Path) -> None:
    given = np.arange(24).reshape(4, 6)[::2, ::-3].T
    path = tmp_path / "rows"
    checksum = write_rows(path, 1, {"a": given})
    assert np.array_equal(read_rows(path, checksum)[1]["a"], given)


@pytest.mark.parametrize("bad", [np.array([{}]), np.array(["a"]), np.array(["2011"], "M8[us]")])
def test_what_is_no_number_is_never_written(bad: Array, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="rows must be numbers"):
        write_rows(tmp_path / "rows", 1, {"bad": bad})
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_this_program_does_not_write_is_refused() -> None:
    for description in ("|O", "<U4", "O", None, {"names": ["a"], "formats": ["|O"]}, ["|O", [1]]):
        with pytest.raises(StateError, match="must be made of numbers"):
            restore_dtype(description)


def test_every_flipped_bit_every_length_and_every_zeroed_tail_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    checksum = write_rows(path, 1, {"rows": np.arange(3, dtype="u1"), "f": np.ones(2)})
    whole = path.read_bytes()
    damaged = [whole + b"\0", b""]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        for at in range(len(whole))
        for bit in range(8)
    ]
    damaged += [whole[:size] for size in range(len(whole))]
    damaged += [
        zeroed
        for size in range(len(whole))
        if (zeroed := whole[:size].ljust(len(whole), b"\0")) != whole
    ]
    for piece in damaged:
        rewrite(path, piece)
        with pytest.raises(StateError):
            read_rows(path, checksum)
    rewrite(path, whole)
    assert read_rows(path, checksum)[0] == 1


def test_another_checkpoints_whole_file_is_refused(tmp_path: Path) -> None:
    checksum = write_rows(tmp_path / "one", 1, {"rows": np.ones(2)})
    write_rows(tmp_path / "two", 2, {"rows": np.ones(2)})
    with pytest.raises(StateError, match="must have the checksum that was committed"):
        read_rows(tmp_path / "two", checksum)


def test_no_object_of_pythons_own_is_ever_loaded(tmp_path: Path) -> None:
    for content in (pickle.dumps([1]), npy()):
        (tmp_path / "rows").write_bytes(content.ljust(4096, b"\0"))
        with pytest.raises(StateError, match="must be a whole row file"):
            read_rows(tmp_path / "rows", b"")


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def test_a_missing_file_is_damage_and_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="must be there; it is missing"):
        read_rows(tmp_path / "rows", b"")


def test_a_file_that_the_disk_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    def full(point: str) -> None:
        if point == "rows.sync":
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device; free some space") as refused:
        write_rows(tmp_path / "rows", 1, {"a": np.ones(3)}, full)
    assert refused.value.full
    assert not list(tmp_path.iterdir())
