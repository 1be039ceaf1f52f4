"""Leases: several readers share the shards of a stream, and no two read one at the same time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

import msgspec

from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.aws import Access
from oddlot.streams.lease_stores import LeaseStore, open_store

TTL_US = 30_000_000
_VERSION = 1
_TRIES = 4  # at a document that others change at the same moment


class _Lease(msgspec.Struct, omit_defaults=True):
    """One shard's.

    Attributes:
        holder: who reads it; "" for nobody.
        wanted: who asked the holder for it, to have a fair share, and is alone allowed to take it.
        counter: goes up each time that it is taken, so that a former holder is told apart.
        position: as the holder saved it last.
    """

    holder: str = ""
    wanted: str = ""
    counter: int = 0
    position: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return bool(self.position and self.position.get("ended"))


class _Table(msgspec.Struct):
    """The document: who is there, by how often each has said so, and the leases by shard."""

    holders: dict[str, int] = {}
    leases: dict[str, _Lease] = {}
    revision: int = 0
    version: int = _VERSION


def steady_us() -> int:
    """Return microseconds of a clock that never steps, and goes on while the machine sleeps.

    Clocks of different machines need not agree: leases compare times of one clock only.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return time.monotonic_ns() // 1000


def open_leases(
    where: str,
    stream: str,
    holder: str,
    access: Access,
    *,
    clock_us: Callable[[], int] = steady_us,
    ttl_us: int = TTL_US,
) -> Leases:
    """Open the leases of a stream; calls nothing yet but a local file.

    Args:
        where: s3://bucket/folder, or the path of a SQLite file where all readers are on one
            machine.
        stream: what tells this stream from others, and from one of its name that was deleted.
        holder: what tells this start of this process from every other.
        access: how to reach S3.
        clock_us: see `steady_us`.
        ttl_us: how long a holder that says nothing keeps its leases.

    Raises:
        ConfigError: the place is none.
    """
    return Leases(open_store(where, stream, access), holder, clock_us=clock_us, ttl_us=ttl_us)


class Leases:
    """What one reader holds; for one thread.

    Each holder says every few seconds that it is there, by a number that goes up. Whoever has seen
    the same number for `ttl_us` of its own clock takes over. A holder counts from before it began
    to say so, and stops a quarter of `ttl_us` early: it has stopped before another begins, however
    the clocks are set. One that is paused between `renew` and its read can read on for a moment;
    it cannot save.

    Attributes:
        leaving: shards that another holder asked for: no longer in what `renew` returns, and handed
            over at the `save` that has them in `last`, or after 2 `ttl_us`.
        problem: why the store could not be asked, one line; "" when all is well.
    """

    def __init__(
        self,
        store: LeaseStore,
        holder: str,
        *,
        clock_us: Callable[[], int] = steady_us,
        ttl_us: int = TTL_US,
    ) -> None:
        if not holder:
            raise ConfigError("holder must be a text of its own; got ''")
        self.leaving: frozenset[str] = frozenset()
        self.problem = ""
        self._store = store
        self._holder = holder
        self._clock_us = clock_us
        self._ttl_us = ttl_us
        self._table: _Table | None = None
        self._counters: dict[str, int] = {}  # of the leases held
        self._leaving_since: dict[str, int] = {}
        self._given: set[str] = set()  # handed over, as far as this one is concerned
        self._holds_until = 0
        self._due = 0
        self._beat = 0
        self._seen: dict[str, tuple[int, int]] = {}  # holder: its number, since when

    def renew(
        self, shards: Collection[str], listed: Collection[str] | None = None
    ) -> frozenset[str]:
        """Keep what is held, take what is free, hand over what others lack; call at every poll.

        Asks the store every sixth of `ttl_us` only.

        Args:
            shards: those that may be read now: their parents have been read to the end.
            listed: all that the stream has; leases of shards that ended and left it are forgotten.

        Returns:
            The shards held for a quarter of `ttl_us` from now. One that was missing and is back
            must be read from `position`: another may have had it.

        Raises:
            StreamError: the store does not answer, and has not yet; call again.
        """
        now = self._clock_us()
        has_new = self._table is not None and any(
            shard not in self._table.leases for shard in shards
        )
        if now >= self._due or (has_new and not self.problem):
            self._due = now + self._ttl_us // 6
            try:
                self._change(lambda table, at: self._share(table, shards, listed, at))
                self.problem = ""
            except StreamError as error:
                self.problem = str(error)
                if self._table is None:
                    raise
        if self._clock_us() + self._ttl_us // 4 > self._holds_until:
            return frozenset()
        return frozenset(self._counters) - self.leaving - self._given

    def position(self, shard: str) -> dict[str, Any] | None:
        """Return a shard's position as its holder saved it last; None where nobody has.

        As of the last call to the store: exact for the shards that are held.
        """
        lease = self._table.leases.get(shard) if self._table else None
        return lease.position if lease else None

    def save(
        self, positions: Mapping[str, dict[str, Any]], last: Collection[str] = ()
    ) -> frozenset[str]:
        """Save how far shards are read: after what was read is durable, all in one write.

        Args:
            positions: by shard, plain values; with `"ended": True` the shard is done for good.
            last: those that are handed over now.

        Returns:
            The shards whose position is saved; the others are not held any more.

        Raises:
            StreamError: the store does not answer; call again.
        """
        saved: set[str] = set()
        # From here on, because the store may do it and its answer be lost.
        self._given |= self._counters.keys() & {
            shard for shard, position in positions.items() if shard in last or position.get("ended")
        }

        def put(table: _Table, _: int) -> bool:
            saved.clear()
            has_news = False
            for shard, position in positions.items():
                lease = table.leases.get(shard)
                if lease is None or not self._is_mine(shard, lease):
                    continue
                saved.add(shard)
                has_news |= lease.position != position or shard in last
                lease.position = dict(position)
                if lease.has_ended or shard in last:
                    lease.holder = ""
                    lease.wanted = "" if lease.has_ended else lease.wanted
            return has_news

        self._change(put)
        return frozenset(saved)

    def release(self) -> None:
        """Give everything back, so that others begin at once.

        Raises:
            StreamError: the store does not answer; then they begin when the leases run out.
        """

        def leave(table: _Table, _: int) -> bool:
            return self._remove(table, self._holder)

        self._holds_until = 0
        self._change(leave)

    def close(self) -> None:
        """Let go of the store; what is held runs out by itself."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self, change: Callable[[_Table, int], bool]) -> None:
        """Replace the document by a changed one; `change` may be called several times.

        Args:
            change: gets the table and the time before it was read; updates it in place and
                returns whether it did.
        """
        for _ in range(_TRIES):
            began = self._clock_us()
            document, tag = self._store.read()
            table = self._decode(document)
            self._watch(table)
            if not change(table, began):
                return
            table.revision += 1
            if self._holder in table.holders:
                # Never a number twice: others must see that it changed.
                self._beat += 1
                table.holders[self._holder] = self._beat
            began = self._clock_us()
            if self._store.write(msgspec.json.encode(table), tag):
                self._adopt(table, began)
                return
        raise StreamError(f"{self._store.place}: others change it all the time; try again")

    def _adopt(self, table: _Table, began: int) -> None:
        """Go by a table that was written; `began` is the time before."""
        self._table = table
        is_there = self._holder in table.holders
        self._holds_until = began + self._ttl_us if is_there else 0
        mine = {
            shard: lease for shard, lease in table.leases.items() if lease.holder == self._holder
        }
        self._counters = {shard: lease.counter for shard, lease in mine.items()}
        self._given &= set(mine)
        self._leaving_since = {
            shard: self._leaving_since.get(shard, began)
            for shard, lease in mine.items()
            if lease.wanted
        }
        self.leaving = frozenset(self._leaving_since)

    def _watch(self, table: _Table) -> None:
        """Note since when each holder has said nothing; the time is from after the reading."""
        now = self._clock_us()
        self._seen = {
            holder: known if known and known[0] == beat else (beat, now)
            for holder, beat in table.holders.items()
            for known in [self._seen.get(holder)]
        }

    def _share(
        self, table: _Table, shards: Collection[str], listed: Collection[str] | None, now: int
    ) -> bool:
        """Remove the dead, say that this one lives, take and ask for a fair share; True."""
        for holder in [one for one in table.holders if one != self._holder]:
            if now - self._seen[holder][1] >= self._ttl_us:
                self._remove(table, holder)
        table.holders.setdefault(self._holder, self._beat)
        for shard, lease in list(table.leases.items()):
            if lease.has_ended and listed is not None and shard not in listed:
                del table.leases[shard]
            lease.holder = lease.holder if lease.holder in table.holders else ""
            lease.wanted = lease.wanted if lease.wanted in table.holders else ""
        for shard in shards:
            table.leases.setdefault(shard, _Lease())
        for shard, since in self._leaving_since.items():
            left = table.leases.get(shard)
            is_over = now - since >= 2 * self._ttl_us
            if left is not None and left.wanted and self._is_mine(shard, left) and is_over:
                left.holder = ""
        readable = [shard for shard in sorted(shards) if not table.leases[shard].has_ended]
        counts = _count(table)
        self._take(table, readable, counts)
        self._ask(table, readable, counts)
        return True

    def _take(self, table: _Table, readable: list[str], counts: Counter[str]) -> None:
        """Take free shards, up to a fair share."""
        share = -(-counts.total() // len(table.holders))
        for shard in readable:
            lease = table.leases[shard]
            # A shard that was lost is left for one call, so that its reader sees that it was.
            is_free = not lease.holder and shard not in self._counters
            is_reserved = lease.wanted == self._holder
            if is_free and (is_reserved or (not lease.wanted and counts[self._holder] < share)):
                counts[self._holder] += not is_reserved
                lease.holder, lease.wanted = self._holder, ""
                lease.counter += 1

    def _ask(self, table: _Table, readable: list[str], counts: Counter[str]) -> None:
        """Ask those that have two more than this one for what evens it out."""
        for shard in readable:
            lease = table.leases[shard]
            donor = lease.holder
            is_free_to_ask = donor not in ("", self._holder) and not lease.wanted
            if is_free_to_ask and counts[donor] - counts[self._holder] >= 2:
                lease.wanted = self._holder
                counts[donor] -= 1
                counts[self._holder] += 1

    def _remove(self, table: _Table, holder: str) -> bool:
        """Take a holder out of the table; tells whether it was in it."""
        for lease in table.leases.values():
            lease.holder = "" if lease.holder == holder else lease.holder
            lease.wanted = "" if lease.wanted == holder else lease.wanted
        return table.holders.pop(holder, None) is not None

    def _is_mine(self, shard: str, lease: _Lease) -> bool:
        return lease.holder == self._holder and lease.counter == self._counters.get(shard)

    def _decode(self, document: bytes) -> _Table:
        if not document:
            return _Table()
        try:
            table = msgspec.json.decode(document, type=_Table)
        except msgspec.DecodeError as error:
            raise StateError(f"{self._store.place}: must be a table of leases; {error}") from None
        if table.version != _VERSION:
            raise StateError(
                f"{self._store.place}: version must be {_VERSION}; got {table.version}"
            )
        return table


def _count(table: _Table) -> Counter[str]:
    """Count the shards that are not read to their end, by who holds them or is to have them."""
    return Counter(
        lease.wanted or lease.holder for lease in table.leases.values() if not lease.has_ended
    )
