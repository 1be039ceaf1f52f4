"""Decoding on a second core, ahead of the lines that are being scored."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import msgspec

from oddlot.decode.decoder import Decoded
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.sources import no_more
from oddlot.schema import Lines

_BATCHES = 3  # decoded batches that may wait; each is a few megabytes


class _End(msgspec.Struct, frozen=True):
    error: BaseException | None


def feed_ahead(
    engine: Engine,
    partition: str,
    chunks: Iterator[tuple[Any, bool]],
    now_us: int,
    more: Callable[[], bytes] = no_more,
) -> Generator[Outcome, None, None]:
    """Take a whole partition through the engine, decoding in a second thread.

    The outcome is that of `Engine.feed`, chunk by chunk: the batches are the same, and they are
    taken in the same order; only the kernels overlap, which need no interpreter lock.

    Args:
        engine: between two batches.
        partition: the file.
        chunks: its bytes and whether they are the last, in order.
        now_us: the clock.
        more: reads on for the layout alone.

    Yields:
        What became of each batch of lines.
    """
    source = engine.source(partition)
    decoded: queue.Queue[Decoded | _End] = queue.Queue(_BATCHES)
    is_stopped = threading.Event()

    def put(item: Decoded | _End) -> bool:
        while not is_stopped.is_set():
            try:
                decoded.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def decode() -> None:
        error: BaseException | None = None
        try:
            for data, is_last in chunks:
                for one in source.feed(data, is_last, engine.config.settings, more):
                    # The decoder's buffers are used again by its next batch.
                    kept = Lines(one.lines.line.copy(), one.lines.text.copy())
                    if not put(Decoded(kept, one.rejects)):
                        return
        except BaseException as caught:  # noqa: BLE001  # raised again in the caller's thread
            error = caught
        put(_End(error))

    thread = threading.Thread(target=decode, name="decode", daemon=True)
    thread.start()
    try:
        while not isinstance(item := decoded.get(), _End):
            yield engine.take(item, source.number, now_us)
        if item.error is not None:
            raise item.error
    finally:
        is_stopped.set()
        thread.join()
