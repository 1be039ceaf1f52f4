"""A state folder survives kills, damage, a full disk, a second user and a careless copy."""

import math
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crashes import alert, arrays, fill, folder_in_memory, reject
from oddlot import tables
from oddlot.durable import StorageError
from oddlot.errors import StateError
from oddlot.schema import Alert
from oddlot.store import REJECTS_KEPT, Store


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder) as opened:
        yield opened


def census(folder: Path) -> set[bytes]:
    """Return every row file's bytes, wherever it lies now."""
    return {path.read_bytes() for path in folder.rglob("rows-*.bin*") if "report" not in path.name}


# What goes in comes out


def test_a_new_folder_holds_no_checkpoint(store: Store) -> None:
    assert store.load() is None
    assert list(store.alerts()) == []


def test_what_was_committed_is_there_after_reopening(folder: Path) -> None:
    fill(folder, 4)
    with Store.open(folder) as store:
        saved = store.load()
        assert saved is not None
        assert (saved.epoch, saved.meta, store.repairs) == (4, b'{"step":4}', [])
        for name, array in arrays(4).items():
            assert saved.arrays[name].dtype == array.dtype
            assert np.array_equal(saved.arrays[name], array)


def test_only_the_last_three_row_files_are_kept(folder: Path) -> None:
    fill(folder, 6)
    assert sorted(path.name[:13] for path in folder.glob("rows-*")) == [
        f"rows-{epoch:08d}" for epoch in (4, 5, 6)
    ]


def test_an_alert_comes_out_as_it_went_in(store: Store) -> None:
    rule = alert(
        2, chance=math.nan, rate=math.nan, score=math.nan, price=math.nan, evidence={"z": math.nan}
    )
    store.commit(b"{}", {}, [alert(1), rule])
    assert [repr(found) for found in store.alerts(newest=False)] == [repr(alert(1)), repr(rule)]


def test_an_alert_given_twice_is_kept_once_and_goes_out_once_a_channel(folder: Path) -> None:
    def route(alert: Alert) -> list[tuple[str, int]]:
        return [("one", 7), ("two", 7)] if alert.sku != "SKU0" else [("one", 7)]

    with Store.open(folder, route=route) as store:
        add_some_twice(store)
        assert store.counts()["alerts_unsent"] == 4 + 3
        found = [(one.alert[-1:], one.channel, one.added_us) for one in store.deliveries()]
        assert found == [
            *(("4", "one", 7), ("4", "two", 7), ("3", "one", 7), ("2", "one", 7), ("2", "two", 7)),
            *(("1", "one", 7), ("1", "two", 7)),
        ]
    with Store.open(folder / "no channels") as store:
        add_some_twice(store)
        assert store.counts()["alerts_unsent"] == 0


def add_some_twice(store: Store) -> None:
    assert store.add_alerts([alert(1), alert(2), alert(1)]) == 2
    assert store.add_alerts([alert(2, text="another"), alert(3)]) == 1
    store.commit(b"{}", {}, [alert(1), alert(3), alert(4)])
    assert list(store.alerts(newest=False)) == [alert(number) for number in (1, 2, 3, 4)]


def test_alerts_come_by_time_in_pages_and_by_what_was_asked(store: Store) -> None:
    given = [alert(number, time_us=number // 7) for number in range(2_500)]
    store.add_alerts([given[at] for at in np.random.default_rng(1).permutation(len(given))])
    assert list(store.alerts(newest=False)) == given
    assert list(store.alerts()) == given[::-1]
    assert list(store.alerts(1_001)) == given[:-1_002:-1]
    assert list(store.alerts(3, sku="SKU1", newest=False)) == [given[1], given[4], given[7]]
    assert list(store.alerts(0)) == list(store.alerts(detector="low_quantity")) == []


def test_counters_are_totals_and_replace_what_they_were(store: Store) -> None:
    store.commit(b"{}", {}, counters={"read": 10, "late": 1})
    store.commit(b"{}", {}, counters={"read": 25})
    counts = store.counts()
    assert (counts["read"], counts["late"], counts["checkpoint"]) == (25, 1, 2)


def test_all_rejects_are_counted_and_the_newest_kept(store: Store) -> None:
    total = REJECTS_KEPT + 500
    store.commit(b"{}", {}, rejects=[reject(number) for number in range(200)])
    store.commit(b"{}", {}, rejects=[reject(number) for number in range(200, total)])
    counts = store.counts()
    assert (counts["rejects_total"], counts["rejects_kept"]) == (total, REJECTS_KEPT)
    kept = store.rejects(total)
    assert (kept[0], kept[-1]) == (reject(total - 1), reject(500))


def test_going_back_a_checkpoint_counts_no_reject_twice(folder: Path) -> None:
    with Store.open(folder) as store:
        for number in range(3):
            store.commit(b"{}", arrays(1), rejects=[reject(number)])
    damage_newest_in(folder)
    with Store.open(folder) as store:
        store.load()
        store.commit(b"{}", arrays(1), rejects=[reject(2)])
        counts = store.counts()
        assert counts["rejects_total"] == counts["rejects_kept"] == 3


def damage_newest_in(folder: Path) -> None:
    newest = max(folder.glob("rows-*.bin"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")


# Damage


def test_every_flipped_byte_and_every_length_falls_back_one_checkpoint(folder: Path) -> None:
    fill(folder, 3)
    newest = max(folder.glob("rows-*.bin"))
    whole = newest.read_bytes()
    damaged = [whole[:at] + bytes([byte ^ 255]) + whole[at + 1 :] for at, byte in enumerate(whole)]
    damaged += [whole[:size] for size in range(len(whole))]
    with Store.read(folder) as reader:
        for piece in damaged:
            newest.write_bytes(piece)
            saved = reader.load()
            assert saved is not None
            assert saved.epoch == 2
        assert len(reader.repairs) == len(damaged)
        newest.write_bytes(whole)
        saved = reader.load()
        assert saved is not None
        assert saved.epoch == 3


@pytest.mark.parametrize("lost", [1, 2])
def test_up_to_two_damaged_checkpoints_are_set_aside_and_named(folder: Path, lost: int) -> None:
    fill(folder, 5)
    for path in sorted(folder.glob("rows-*.bin"))[-lost:]:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    before = census(folder)
    for _ in range(2):
        with Store.open(folder) as store:
            saved = store.load()
            assert saved is not None
            assert saved.epoch == 5 - lost
    with Store.open(folder) as store:
        store.load()
        assert store.commit(b"{}", {}) == 6
    assert before <= census(folder) | before - {min(before)}
    assert len(list((folder / "quarantine").glob("*.report.json"))) == lost


def test_a_repair_says_what_was_wrong_and_what_counts_now(folder: Path) -> None:
    fill(folder, 2)
    damage_newest_in(folder)
    with Store.open(folder) as store:
        store.load()
        (line,) = store.repairs
    assert "must have the checksum in the header" in line
    assert "checkpoint 2 is passed over" in line


def test_a_missing_row_file_falls_back_too(folder: Path) -> None:
    fill(folder, 3)
    max(folder.glob("rows-*.bin")).unlink()
    with Store.open(folder) as store:
        saved = store.load()
        assert saved is not None
        assert saved.epoch == 2


def test_a_changed_row_of_the_database_is_noticed(folder: Path) -> None:
    fill(folder, 2)
    for column in ("meta", "checksum", "rejects", "file"):
        with Store.open(folder) as store:
            store._sql.execute(f"UPDATE checkpoint SET {column} = 9 WHERE epoch = 2")
            saved = store.load()
            assert saved is not None
            assert saved.epoch == 1
            store._sql.execute("UPDATE checkpoint SET damaged = NULL")


def test_with_no_whole_checkpoint_left_it_refuses_until_told_to_start_fresh(folder: Path) -> None:
    fill(folder, 4)
    for path in folder.glob("rows-*.bin"):
        path.write_bytes(b"")
    for _ in range(2):
        with Store.open(folder) as store, pytest.raises(StateError, match="--start-fresh") as error:
            store.load()
        assert error.value.exit_code == 4
    with Store.open(folder, fresh=True) as store:
        assert store.load() is None
        assert len(list(store.alerts())) == 4
        assert store.commit(b"{}", {}) == 5
    assert len(list((folder / "quarantine").glob("rows-*.bin"))) == 3


def test_starting_fresh_deletes_no_state(folder: Path) -> None:
    fill(folder, 4)
    before = census(folder)
    with Store.open(folder, fresh=True) as store:
        assert store.load() is None
    assert census(folder) == before


@pytest.mark.parametrize("content", [b"", b"no database at all" * 999, b"SQLite format 3\0" * 300])
def test_a_damaged_database_refuses_and_starts_fresh_only_when_told(
    folder: Path, content: bytes
) -> None:
    fill(folder, 4)
    database = folder / "oddlot.sqlite"
    database.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StateError, match="--start-fresh"):
            Store.open(folder)
    assert database.read_bytes() == content
    with Store.open(folder, fresh=True) as store:
        assert store.load() is None
    assert not content or any(
        path.read_bytes() == content for path in (folder / "quarantine").glob("oddlot*")
    )


def test_a_database_that_forgot_commits_is_no_silent_new_beginning(folder: Path) -> None:
    """Without its log, it holds an acknowledged checkpoint or refuses."""
    for epochs in range(1, 7):
        place, copy = folder / f"{epochs}", folder / f"{epochs}-copy"
        with Store.open(place) as store:
            for epoch in range(1, epochs + 1):
                store.commit(b"%d" % epoch, arrays(epoch))
            copy.mkdir()
            for path in (place / "oddlot.sqlite", *place.glob("rows-*")):
                shutil.copy(path, copy)
        try:
            with Store.open(copy) as opened:
                saved = opened.load()
        except StateError:
            continue
        assert saved is not None
        assert saved.meta == b"%d" % saved.epoch


def test_a_database_of_version_2_is_brought_up_to_date_with_all_that_is_in_it(
    folder: Path,
) -> None:
    fill(folder, 3)
    with sqlite3.connect(folder / "oddlot.sqlite") as database:
        database.executescript(
            "DROP TABLE outbox; DROP TABLE channel; DROP INDEX incident_by_last;"
            "CREATE TABLE outbox (alert INTEGER PRIMARY KEY REFERENCES alert (number),"
            " sent_us INTEGER); CREATE INDEX outbox_unsent ON outbox (alert);"
            "INSERT INTO outbox (alert) SELECT number FROM alert; PRAGMA user_version = 2"
        )
    database.close()
    with pytest.raises(StateError, match="`oddlot run` brings it up to date"):
        Store.read(folder)
    with Store.open(folder) as store:
        saved = store.load()
        assert saved is not None
        assert saved.epoch == 3
        assert len(list(store.alerts())) == 3
        assert store.counts()["alerts_unsent"] == 0
        upgraded = schema_of(store)
    with Store.open(folder / "new") as store:
        assert upgraded == schema_of(store)


def schema_of(store: Store) -> set[tuple[str, str]]:
    return set(store._sql.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_a_newer_database_is_refused_and_untouched(folder: Path) -> None:
    fill(folder, 1)
    with sqlite3.connect(folder / "oddlot.sqlite") as database:
        database.execute(f"PRAGMA user_version = {tables.VERSION + 1}")
    database.close()
    for fresh in (False, True):
        with pytest.raises(StateError, match="written by a newer Oddlot"):
            Store.open(folder, fresh=fresh)
    with pytest.raises(StateError, match="written by a newer Oddlot"):
        Store.read(folder)


def test_another_programs_database_is_refused(folder: Path) -> None:
    with sqlite3.connect(folder / "oddlot.sqlite") as database:
        database.execute("CREATE TABLE cookies (name TEXT)")
    database.close()
    with pytest.raises(StateError, match="got another program's"):
        Store.open(folder)


# The disk


def test_a_full_disk_costs_no_checkpoint_and_no_restart(folder: Path) -> None:
    for point in ("rows.write", "rows.half", "rows.sync", "rows.folder"):
        times = 0

        def full(name: str, point: str = point) -> None:
            nonlocal times
            times += name == point
            if name == point and times == 2:
                raise OSError(28, "No space left on device")

        with Store.open(folder / point, crash=full) as store:
            store.commit(b"1", arrays(1), [alert(1)], [reject(1)])
            with pytest.raises(StorageError, match="free some space") as refused:
                store.commit(b"2", arrays(2), [alert(2)], [reject(2)])
            assert refused.value.full
            assert refused.value.exit_code == 5
            assert list(store.alerts()) == [alert(1)]
            assert store.commit(b"2", arrays(2), [alert(2)], [reject(2)]) == 2
            assert store.counts()["rejects_total"] == 2


def test_a_database_that_cannot_grow_costs_no_checkpoint_and_no_restart(folder: Path) -> None:
    with Store.open(folder) as store:
        store.commit(b"1", arrays(1), [alert(1)])
        store._sql.execute("PRAGMA max_page_count = 1")
        many = [alert(number) for number in range(2_000)]
        with pytest.raises(StorageError, match="free some space"):
            store.commit(b"2", arrays(2), many)
        saved = store.load()
        assert saved is not None
        assert saved.meta == b"1"
        store._sql.execute("PRAGMA max_page_count = 1000000")
        assert store.commit(b"2", arrays(2), many) == 2
        assert store.counts()["alerts_kept"] == 2_000


def test_a_folder_that_cannot_be_is_refused_with_advice(folder: Path) -> None:
    (folder / "file").write_text("")
    for place in (folder / "file", folder / "file" / "state"):
        with pytest.raises(StorageError, match="name a folder, not a file") as refused:
            Store.open(place)
        assert refused.value.exit_code == 5
