"""The sources that the engine reads, each with its own layout and decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.decoder import Decoded, Decoder
from oddlot.decode.layout import look
from oddlot.decode.reading import Reading, Settings
from oddlot.schema import Bytes

_OPENING = 1 << 20  # bytes in which a header and a first record must have come


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
