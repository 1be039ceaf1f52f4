"""A state can be read while it is written, and copied while it is written."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes import STEPS, alert, arrays, fill, folder_in_memory, kill_at
from oddlot.errors import ConfigError, StateError
from oddlot.store import Store, Stored


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


def test_a_reader_sees_each_commit_while_the_writer_works(folder: Path) -> None:
    with Store.open(folder) as store, Store.read(folder) as reader:
        assert isinstance(reader, Stored)
        for epoch in range(1, 6):
            store.commit(b"%d" % epoch, arrays(epoch), [alert(epoch)], counters={"read": epoch})
            saved = reader.load()
            assert saved is not None
            assert saved.meta == b"%d" % epoch
            assert len(list(reader.alerts())) == reader.counts()["read"] == epoch
        with pytest.raises(sqlite3.OperationalError):
            reader._sql.execute("DELETE FROM alert")


def test_a_reader_reads_what_a_killed_writer_left(folder: Path) -> None:
    assert kill_at(folder, "sql.done:2")
    with Store.read(folder / "state") as reader:
        assert list(reader.alerts(newest=False)) == [alert(n) for n in (1, 2, 101, 102)]
        saved = reader.load()
        assert saved is not None
        assert saved.epoch == 2


def test_reading_where_nothing_is_says_so(folder: Path) -> None:
    for place in (folder, folder / "none"):
        with pytest.raises(ConfigError, match=r"it has no oddlot\.sqlite"):
            Store.read(place)
    assert not (folder / "none").exists()


def test_a_backup_of_a_working_store_is_the_whole_state(folder: Path) -> None:
    with Store.open(folder / "state") as store:
        for epoch in range(1, STEPS):
            store.commit(b"%d" % epoch, arrays(epoch), [alert(epoch)])
        with Store.read(folder / "state") as reader:
            reader.backup(folder / "copy")
        with Store.open(folder / "copy") as copy:
            saved, original = copy.load(), store.load()
            assert saved is not None
            assert original is not None
            assert (saved.epoch, saved.meta) == (original.epoch, original.meta)
            assert list(copy.alerts()) == list(store.alerts())
            assert copy.repairs == []
        with pytest.raises(ConfigError, match="must be a folder without a state"):
            store.backup(folder / "copy")


def test_a_database_copied_without_its_row_files_is_refused(folder: Path) -> None:
    fill(folder / "state", 3)
    (folder / "copy").mkdir()
    shutil.copy(folder / "state" / "oddlot.sqlite", folder / "copy")
    with Store.open(folder / "copy") as copy, pytest.raises(StateError, match="--start-fresh"):
        copy.load()
