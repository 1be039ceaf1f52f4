"""What Amazon allows a Kinesis shard a second, counted on a clock that is an argument."""

from __future__ import annotations

from collections.abc import Callable

MEBIBYTE = 1 << 20
WRITES_A_SECOND = 1_000
WRITTEN_BYTES_A_SECOND = MEBIBYTE
READS_A_SECOND = 5
READ_BYTES_A_SECOND = 2 * MEBIBYTE
RECORDS_A_REQUEST = 500
REQUEST_BYTES = 10 * MEBIBYTE
RECORD_BYTES = MEBIBYTE
KEY_CHARACTERS = 256


class Bucket:
    """A bucket of tokens that fills at a steady rate up to one second's worth."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = rate
        self._filled = clock()

    def left(self) -> float:
        """Count the tokens that are there now; below 0 after `charge`."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        return self._tokens

    def charge(self, tokens: float) -> None:
        """Take tokens, also ones that are not there yet."""
        self._tokens = self.left() - tokens


class Shard:
    """The four limits of one shard."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._writes = Bucket(WRITES_A_SECOND, clock)
        self._written = Bucket(WRITTEN_BYTES_A_SECOND, clock)
        self._reads = Bucket(READS_A_SECOND, clock)
        self._read = Bucket(READ_BYTES_A_SECOND, clock)

    def admits_write(self, size: int) -> bool:
        """Whether a record of `size` bytes may be written now; if so it is counted.

        A record larger than a second's worth passes once the bucket is full.
        """
        room = min(size, WRITTEN_BYTES_A_SECOND)
        if self._writes.left() < 1 or self._written.left() < room:
            return False
        self._writes.charge(1)
        self._written.charge(size)
        return True

    def admits_read(self) -> bool:
        """Whether one more GetRecords may be answered now; if so it is counted."""
        if self._reads.left() < 1 or self._read.left() < 0:
            return False
        self._reads.charge(1)
        return True

    def has_read(self, size: int) -> None:
        """Count bytes that went out; a large answer keeps the shard silent for a while."""
        self._read.charge(size)
