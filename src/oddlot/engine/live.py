"""The loop that watches a log folder for ever: poll, feed, commit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oddlot.alert_files import AlertFiles
from oddlot.alerts.make import alert_row
from oddlot.alerts.rows import RowWriter
from oddlot.archive import Archive
from oddlot.config import Config
from oddlot.delivery import Deliveries
from oddlot.detectors.contract import TICK_US
from oddlot.durable import StorageError
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.event_time import NEVER, pack
from oddlot.engine.scoring import type_of
from oddlot.engine.warm import compile_beside
from oddlot.errors import StreamError
from oddlot.outbox import router
from oddlot.schema import LINE, Alert, Incident, Lines, Reject
from oddlot.store import Store
from oddlot.streams.chunks import Chunk
from oddlot.streams.files import Tail
from oddlot.streams.shard_reader import ShardReader

_POLL_S = 0.05  # between two looks at a folder in which nothing is new
_WORST_POLL_S = 5.0  # after errors in a row
_ARCHIVE_LINES = 50_000  # lines in an archive file, about
_ARCHIVE_US = 600_000_000  # or what came in ten minutes
_DAY_US = 86_400_000_000
_OVERHEAD = 10  # a checkpoint that takes a second is made every ten seconds at most


class Progress(msgspec.Struct, frozen=True):
    """How far the loop is.

    Attributes:
        counters: totals since the beginning: read, scored, late, rejected, duplicate, pending.
        watermark_us: lines older than this are final; None before the first.
        unread: bytes that are in the folder and not read yet.
        alerts: how many alerts there were since the loop began.
        newest: the alerts since the last call.
        problems: what cannot be read at present, path to one line.
    """

    counters: dict[str, int]
    watermark_us: int | None
    unread: int
    alerts: int
    newest: list[Alert]
    problems: dict[str, str]


class Live:
    """One run over one folder, between its checkpoints."""

    def __init__(self, config: Config, store: Store, now_us: int) -> None:
        """Restore what the store holds, or begin with nothing."""
        self.config = config
        self.store = store
        self.engine = Engine(config)
        self.files = AlertFiles(Path(config.alerts.path), config.alerts.format)
        self.archive = Archive(Path(config.archive.path)) if config.archive.path else None
        self.alerts = 0
        self.deliveries: Deliveries | None = None
        self._alerts: list[Alert] = []  # since the last checkpoint
        self._new: list[Alert] = []  # not in the store yet
        self._changed: dict[str, Incident] = {}  # the same, as they now are
        self._shown: list[Alert] = []
        self._foretold: dict[str, int] = {}  # ids of alerts by `strike`, with their times
        self._rejects: list[Reject] = []
        self._orders: list[Lines] = []
        self._order_count = 0
        self._archived_us = now_us
        self._archive_name = ""
        self._writers = {
            type_of(detector): RowWriter(config.alerts.format, detector.columns, delimiter="")
            for detector in config.detectors
            if detector.is_rule
        }
        saved = store.load()
        extra: dict[str, Any] = {"positions": {}, "files": {}, "archive": "", "foretold": {}}
        if saved is not None:
            extra = checkpoint.restore(self.engine, saved)
            self._archive_name = extra["archive"]
            self._foretold = extra["foretold"]
            # Not as JSON, which has no NaN for the price of a shop that names none.
            self._alerts = msgspec.msgpack.decode(
                saved.arrays["alerts"].tobytes(), type=list[Alert]
            )
            if "orders" in saved.arrays and len(saved.arrays["orders"]):
                orders = Lines(saved.arrays["orders"], saved.arrays["orders_text"])
                self._orders, self._order_count = [orders], len(orders)
        self.files.restore(extra["files"])
        if self.archive:
            self.archive.restore(self._archive_name)
        self.tail: Tail | ShardReader = config.stream.open(extra["positions"])
        self.shards = self.tail if isinstance(self.tail, ShardReader) else None

    def poll(self, now_us: int) -> bool:
        """Read what is new and take it through the steps; return whether there was anything.

        Raises:
            StreamError: the folder did not answer; call again later.
            StorageError: the disk refused.
        """
        chunks = self.tail.poll(now_us)
        for chunk in chunks:
            if self.shards is None:
                for outcome in self.engine.feed(chunk.partition, chunk.data, chunk.end, now_us):
                    self.keep(outcome)
            else:
                self._hold(self.shards, chunk, now_us)
        is_news = bool(chunks)
        if self.shards is not None:
            live = self.shards.live(now_us)
            for outcome in self.engine.align(live):
                is_news = True
                self.keep(outcome)
            self.shards.pause(self.engine.alignment.ahead(live))
        self.publish()
        return is_news

    def _hold(self, shards: ShardReader, chunk: Chunk, now_us: int) -> None:
        """Take the next records of one shard, and tell of each that is none by what number."""
        for reject in self.engine.hold(chunk.partition, chunk.data, chunk.end, now_us):
            number = shards.find(reject.source, reject.position)
            reason = f"{reject.reason} (sequence number {number})" if number else reject.reason
            self._rejects.append(msgspec.structs.replace(reject, reason=reason))

    def idle(self) -> None:
        """Release the newest lines: nothing has come for long."""
        for outcome in self.engine.align(()):
            self.keep(outcome)
        self.keep(self.engine.finish())
        self.publish()

    def strike(self, silent_us: int) -> None:
        """Tell what is odd about a silence that has lasted so long; see `Engine.strike`."""
        newest_us = self.engine.time.newest_us
        if newest_us == NEVER:
            return
        outcome = self.engine.strike(newest_us + silent_us)
        self.keep(outcome)
        self._foretold |= {alert.id: alert.time_us for alert in outcome.alerts}
        self.publish()

    def keep(self, outcome: Outcome) -> None:
        """Write the rows of rules, and keep the rest for the next commit."""
        released = outcome.released
        for name, found in outcome.rows.items():
            writer = self._writers[name]
            rows = writer.write(released.lines, released.order, found)
            if len(rows):
                self.files.append(name, rows, writer.header)
        if self.archive and len(released.order):
            line = released.lines.line[released.order]
            self._orders.append(pack([Lines(line, released.lines.text)]))
            self._order_count += len(line)
        # What a silence has told already is found again when lines come after it.
        self._new += [alert for alert in outcome.alerts if alert.id not in self._foretold]
        self._changed |= {incident.id: incident for incident in outcome.incidents}
        self._rejects += outcome.rejects

    def publish(self) -> None:
        """Make new alerts durable at once; a restart finds them by their ids."""
        if not self._new and not self._changed:
            return
        self.store.add_alerts(self._new, list(self._changed.values()))
        self._changed = {}
        for alert in self._new:
            row = alert_row(alert)
            if self.config.alerts.format == "jsonl":
                self.files.append(alert.detector, msgspec.json.encode(row) + b"\n")
            else:
                header = (",".join(row) + "\n").encode()
                self.files.append(alert.detector, _csv(row), header)
        self.alerts += len(self._new)
        self._alerts += self._new
        self._shown += self._new
        self._new = []

    @property
    def is_troubled(self) -> bool:
        """Whether shards cannot be read at present, so that their silence means nothing."""
        return self.shards is not None and bool(self.shards.problems)

    @property
    def is_archived(self) -> bool:
        """Whether the archive has all that was scored."""
        return self.archive is None or not (self._orders or self._alerts)

    def commit(self, now_us: int, is_last: bool = False) -> None:
        """Make everything since the last checkpoint durable, in one transaction.

        Args:
            now_us: the clock.
            is_last: whether the loop ends here, so that the archive gets all that there is.
        """
        if self.archive:
            self._write_archive(now_us, is_last)
        self.files.sync()
        # Not the newest that came: until it is scored, the silence before it is not told for good.
        old_us = self.engine.scoring.newest_us - _DAY_US
        self._foretold = {one: at for one, at in self._foretold.items() if at >= old_us}
        meta, arrays = checkpoint.save(
            self.engine,
            {
                "positions": self.tail.positions(),
                "files": self.files.positions(),
                "archive": self._archive_name,
                "foretold": self._foretold,
            },
        )
        orders = pack(self._orders) if self._orders else Lines(np.zeros(0, LINE), np.zeros(0, "u1"))
        arrays |= {"orders": orders.line, "orders_text": orders.text}
        arrays["alerts"] = np.frombuffer(msgspec.msgpack.encode(self._alerts), np.uint8)
        self.store.commit(meta, arrays, [], self._rejects, self.engine.counters())
        self._rejects = []
        if self.shards is not None:
            self.shards.committed()

    def _write_archive(self, now_us: int, is_last: bool) -> None:
        is_due = self._order_count >= _ARCHIVE_LINES or now_us - self._archived_us >= _ARCHIVE_US
        if not (is_due or is_last) or not (self._orders or self._alerts) or self.archive is None:
            return
        from oddlot.arrow import order_table

        name = f"{int(self._archive_name or 0) + 1:012d}"
        if self._orders:
            self.archive.write_orders(
                order_table(pack(self._orders), list(self.engine.sources)), name
            )
        if self._alerts:
            self.archive.write_alerts(self._alerts, name)
        self._archive_name = name
        self._orders, self._order_count, self._alerts = [], 0, []
        self._archived_us = now_us

    def progress(self) -> Progress:
        """Tell how far the loop is."""
        shown, self._shown = self._shown, []
        newest_us = self.engine.time.newest_us
        return Progress(
            self.engine.counters(),
            self.engine.time.watermark_us if newest_us > -(2**60) else None,
            self.tail.unread,
            self.alerts,
            shown,
            self.tail.problems
            | self.engine.problems
            | (self.deliveries.problems if self.deliveries else {}),
        )

    def close(self) -> None:
        """Close files; what was not committed is read again at the next start."""
        self.tail.close()
        self.files.close()


def run(
    config: Config,
    *,
    clock_us: Callable[[], int],
    sleep: Callable[[float], None],
    should_stop: Callable[[], bool],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    fresh: bool = False,
) -> None:
    """Watch the config's folder until `should_stop`; then save a checkpoint and return.

    Args:
        config: from shop.toml.
        clock_us: the time of day, microseconds UTC.
        sleep: waits for so many seconds.
        should_stop: asked between two batches.
        on_progress: told after each poll.
        fresh: set the state aside and begin with none.

    Raises:
        ConfigError: the folder or its files' layout; StateError: the state folder.
    """
    route = router(config.channels, clock_us)
    with (
        Store.open(Path(config.state.path), fresh=fresh, route=route) as store,
        Deliveries(config, clock_us) as deliveries,
    ):
        live = Live(config, store, clock_us())
        live.deliveries = deliveries
        compile_beside(config.detectors)
        try:
            _loop(live, config, clock_us, sleep, should_stop, on_progress)
        finally:
            live.close()


def _loop(
    live: Live,
    config: Config,
    clock_us: Callable[[], int],
    sleep: Callable[[float], None],
    should_stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> None:
    every_us = config.state.checkpoint_every_us
    idle_us = config.time.idle_us
    committed_us = heard_us = now_us = clock_us()
    struck_us = heard_us
    is_idle = False
    is_dirty = False
    failures = 0
    while not should_stop():
        try:
            heard = live.poll(clock_us())
            failures = 0
        except StreamError:
            failures += 1
            heard = False
        looked_us, now_us = now_us, clock_us()
        if heard:
            heard_us, is_idle, is_dirty = now_us, False, True
        elif live.is_troubled:
            heard_us += now_us - looked_us  # nothing can be heard: that is no silence
        elif idle_us is not None and not is_idle and now_us - heard_us >= idle_us:
            live.idle()
            is_idle = is_dirty = True
            struck_us = heard_us
        if is_idle and now_us - struck_us >= TICK_US:
            live.strike(now_us - heard_us)
            struck_us, is_dirty = now_us, True
        if is_dirty and now_us - committed_us >= every_us:
            is_dirty = not _commit(live, now_us)
            took_us = clock_us() - now_us
            committed_us = now_us + max(0, _OVERHEAD * took_us - every_us)
        on_progress(live.progress())
        if not heard:
            sleep(min(_WORST_POLL_S, _POLL_S * math.ldexp(1.0, min(failures, 10))))
    if is_dirty or not live.is_archived:
        _commit(live, clock_us(), is_last=True)
    on_progress(live.progress())


def _commit(live: Live, now_us: int, is_last: bool = False) -> bool:
    """Make a checkpoint; return False if the disk is full, so that it is tried again later."""
    try:
        live.commit(now_us, is_last)
    except StorageError as error:
        if not error.full:
            raise
        return False
    return True


def _csv(row: dict[str, Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(row.values())
    return out.getvalue().encode()
