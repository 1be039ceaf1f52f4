"""The sources that the engine reads, each with its own layout and decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.decoder import Decoded, Decoder
from oddlot.decode.layout import look
from oddlot.decode.reading import Reading, Settings
from oddlot.errors import ConfigError
from oddlot.schema import Bytes

_OPENING = 1 << 20  # bytes in which a header and a first record must have come
_PATIENCE = 100  # and lines, where records of others may come first


def no_more() -> bytes:
    """Say that no more can be read ahead: the source is still being written."""
    return b""


class Source:
    """One file or shard, from its first bytes on."""

    def __init__(self, name: str, number: int) -> None:
        """Know nothing of its layout yet."""
        self.name = name
        self.number = number
        self.decoder: Decoder | None = None
        self.problem = ""  # why its layout cannot be told yet
        self._opening = b""

    def feed(
        self, data: Any, is_last: bool, settings: Settings, more: Callable[[], bytes] = no_more
    ) -> Iterator[Decoded]:
        """Decode the next bytes; the first ones tell the layout.

        Raises:
            ConfigError: the layout cannot be found, or must be asked for.
        """
        if self.decoder is None:
            self._opening += bytes(data)
            if not self._can_look(is_last):
                return
            reading, skip = look(self.name, self._opening, more, settings)
            self.decoder = self._decoder(reading, self._opening[:skip])
            data, self._opening = memoryview(self._opening)[skip:], b""
        yield from self.decoder.feed(data, is_last)

    def feed_patiently(
        self, data: Any, is_last: bool, settings: Settings, like: Reading | None
    ) -> Iterator[Decoded]:
        """Decode the next whole records; wait for some that tell the layout.

        A record that is no order line, such as the first one of a shard, holds up nothing: it
        becomes a reject when others have told the layout.

        Args:
            data: what follows the bytes that came before.
            is_last: whether what is left without a line end is a record.
            settings: what the user declared.
            like: the layout of another shard of the stream; JSON Lines are read like it.

        Raises:
            ConfigError: so much has come that the layout itself must be wrong.
        """
        if self.decoder is not None:
            yield from self.decoder.feed(data, is_last)
            return
        if like is not None and like.format == "jsonl":
            self.decoder = self._decoder(like, b"")
            data, self._opening, self.problem = self._opening + bytes(data), b"", ""
            yield from self.decoder.feed(data, is_last)
            return
        opening = self._opening = _put_order_first(self._opening + bytes(data))
        try:
            reading, skip = look(self.name, opening, no_more, settings)
        except ConfigError as error:
            if len(opening) > _OPENING or opening.count(b"\n") > _PATIENCE:
                raise
            self.problem = str(error)
            return
        self.problem = ""
        self.decoder = self._decoder(reading, opening[:skip])
        self._opening = b""
        # Whole records: what is left of one has no line end to wait for.
        yield from self.decoder.feed(memoryview(opening)[skip:], True)

    def _can_look(self, is_last: bool) -> bool:
        # A header and a record, each with its line end, unless there is no more to come.
        lines = self._opening.lstrip(b"\xef\xbb\xbf\r\n \t").count(b"\n")
        is_json = self._opening.lstrip(b"\xef\xbb\xbf\r\n \t").startswith(b"{")
        return is_last or lines >= 2 - is_json or len(self._opening) > _OPENING

    def _decoder(self, reading: Reading, header: bytes) -> Decoder:
        number = 1 + header.count(b"\n")
        return Decoder(reading, self.name, self.number, len(header), number)

    def save(self) -> tuple[dict[str, Any], Bytes]:
        """Return what a checkpoint needs: JSON-able values, and bytes."""
        values: dict[str, Any] = {"name": self.name, "opening": self._opening.decode("latin-1")}
        tail = np.zeros(0, np.uint8)
        if self.decoder is not None:
            numbers, tail = self.decoder.save()
            values["decoder"] = numbers | {"head": numbers["head"].decode("latin-1")}
            values["reading"] = msgspec.to_builtins(self.decoder.reading)
        return values, tail

    @classmethod
    def restore(cls, values: dict[str, Any], number: int, tail: Bytes) -> Source:
        """Make a source as it was saved."""
        source = cls(values["name"], number)
        source._opening = values["opening"].encode("latin-1")
        if "reading" in values:
            reading = msgspec.convert(values["reading"], Reading)
            source.decoder = source._decoder(reading, b"")
            numbers = values["decoder"]
            source.decoder.restore(numbers | {"head": numbers["head"].encode("latin-1")}, tail)
        return source


def _put_order_first(opening: bytes) -> bytes:
    """Move the first line that is a JSON object to the front, if others come before it."""
    at = 0
    while 0 <= at < len(opening) and not opening.startswith(b"{", at):
        at = opening.find(b"\n{", at) + 1 or -1
        if at > 0:
            end = opening.find(b"\n", at) + 1 or len(opening)
            return opening[at:end] + opening[:at] + opening[end:]
    return opening
