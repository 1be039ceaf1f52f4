"""One flow at work: files followed, lines converted, packed and shipped, positions taken."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec

from oddlot.agent.checkpoints import Saved
from oddlot.agent.dead import DeadLetters
from oddlot.agent.flows import AgentConfig, Flow
from oddlot.agent.follow import Block, File, Follower
from oddlot.agent.packing import LANES, Entry, Packer
from oddlot.agent.records import Outcome, Processor
from oddlot.agent.sending import Senders, Stream
from oddlot.agent.ship import Destination, Shipper

MEMORY = 48 << 20  # bytes that may wait unsent over all flows
_POLL = 4 << 20  # bytes
_KEY_BYTES = 256  # for the key, out of the bytes that a record may have


class FlowProgress(msgspec.Struct, frozen=True):
    """How far a flow is.

    Attributes:
        flow: its id.
        counts: totals since the start: lines and bytes read, lines, records and bytes shipped,
            and what was dropped, set aside, failed.
        waiting_bytes: read and not acknowledged.
        unread_bytes: there and not read.
        lag_us: age of the oldest line that was read and is not acknowledged.
        problems: what is wrong at present, in one line each.
    """

    flow: str
    counts: dict[str, int]
    waiting_bytes: int
    unread_bytes: int
    lag_us: int
    problems: tuple[str, ...]


class Carrier:
    """Carries one flow's lines from its files to its stream.

    Args:
        flow: from agent.json.
        config: the whole of it.
        saved: what is known of it from before.
        senders: threads, shared by all flows.
        dead: where lines go that cannot be shipped.
        wall: returns the time of day in ISO format.
        chance: for keys and pauses.
        destination: instead of the flow's stream.
    """

    def __init__(
        self,
        flow: Flow,
        config: AgentConfig,
        saved: Saved,
        senders: Senders,
        dead: DeadLetters,
        *,
        wall: Callable[[], str],
        chance: random.Random,
        destination: Destination | None = None,
    ) -> None:
        self.flow = flow
        self._dead = dead
        self._wall = wall
        self._dropped = Counter[str]()
        self._room = flow.longest_record - _KEY_BYTES
        self._processor = Processor(flow)
        self._is_keyed = flow.keys_by_content
        self.follower = Follower(
            flow.patterns,
            self._processor,
            longest=flow.longest_line,
            patience_us=flow.partial_line_us,
            poll_bytes=min(_POLL, MEMORY // len(config.flows) // 2),
            is_verbatim=self._processor.is_verbatim,
            positions=saved.positions,
            skips=saved.skips,
        )
        options = flow.options
        self.shipper = Shipper(
            destination or _stream(flow, config),
            senders,
            records=flow.buffer_records,
            size=flow.buffer_bytes,
            age_us=flow.buffer_age_us,
            retry_us=(flow.retry_initial_us, flow.retry_max_us),
            keeps_order=bool(options.partition_key_field or options.partition_key_pattern),
            lanes=1 if flow.is_firehose else LANES,
            on_done=self._on_done,
            on_refused=self._on_refused,
            chance=chance,
        )
        self._packer = Packer(
            flow.aggregation,
            min(flow.packed_bytes, self._room),
            has_keys=not flow.is_firehose,
            choose=self.shipper.choose,
        )
        self._age_us = flow.buffer_age_us
        self._poll_us = 0

    @property
    def held(self) -> int:
        """Bytes that were read and are not acknowledged."""
        return self.shipper.held + self._packer.held

    @property
    def wakes_us(self) -> int:
        """When the files are to be looked at next."""
        return self._poll_us

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at present, in one line each."""
        shipping = (self.shipper.problem,) if self.shipper.problem else ()
        return (*shipping, *self.follower.problems.values())

    def settle(self, now_us: int) -> bool:
        """Take in answers and send what is due; True if there was anything to do."""
        count = self.shipper.settle(now_us)
        self._packer.end(now_us - self._age_us)
        self._hand_over()
        return self.shipper.send(now_us) + count > 0

    def poll(self, now_us: int, clock_us: Callable[[], int]) -> bool:
        """Look at the files if it is time, and take what is new; True if anything was."""
        if now_us < self._poll_us:
            return False
        blocks = self.follower.poll(now_us)
        for block in blocks:
            self._take(block)
        self._hand_over()
        if blocks:
            self._poll_us = now_us
        else:
            # Ten thousand files take long to look at; that may cost a fifth of a processor.
            cost_us = clock_us() - now_us
            self._poll_us = now_us + max(self.flow.poll_us, 5 * cost_us)
        return bool(blocks)

    def drain(self, now_us: int) -> None:
        """Send everything that was read, without waiting for company."""
        self.shipper.settle(now_us)
        self._packer.end(now_us)
        self._hand_over()
        self.shipper.send(now_us, is_hurried=True)

    def progress(self, now_us: int) -> FlowProgress:
        """Say how far it is."""
        follower, shipper = self.follower, self.shipper
        oldest_us = follower.oldest_us()
        counts = {"read_lines": follower.counts["lines"], "read_bytes": follower.counts["bytes"]}
        counts |= {name: n for name, n in follower.counts.items() if name not in ("lines", "bytes")}
        counts |= {f"file_{name}": count for name, count in follower.file_counts.items()}
        counts |= {f"converted_{name}": count for name, count in self._processor.counts.items()}
        counts |= {f"dropped_{name}": count for name, count in self._dropped.items()}
        counts |= {f"sent_{name}": shipper.counts[name] for name in ("lines", "records", "bytes")}
        counts |= {
            name: count
            for name, count in shipper.counts.items()
            if name not in ("lines", "records", "bytes")
        }
        return FlowProgress(
            self.flow.id,
            counts,
            self.held,
            follower.unread,
            0 if oldest_us is None else now_us - oldest_us,
            self.problems,
        )

    def known(self) -> set[File]:
        """Return the files that are worth a position."""
        return self.follower.known()

    def close(self) -> None:
        """Close the files."""
        self.follower.close()

    def _take(self, block: Block) -> None:
        """Convert and pack a block."""
        data = block.data
        if data and self._has_long_line(data):
            lines = data.removesuffix(b"\n").split(b"\n")
            offsets = [block.end] * len(lines)
            self._convert(block, lines, offsets)
        elif data:
            self._packer.add_text(block)
        elif block.records:
            self._convert(block, block.records, block.offsets)
        block.records, block.offsets, block.data = [], [], b""
        self.follower.acknowledge(block)

    def _has_long_line(self, data: bytes) -> bool:
        if len(data) <= self._room:
            return False
        return max(map(len, data.split(b"\n"))) >= self._room

    def _convert(self, block: Block, lines: list[bytes], offsets: list[int]) -> None:
        outcomes = self._processor.convert_lines(lines, offsets, block.path, block.file[1])
        if any(outcome.problem for outcome in outcomes):
            outcomes = self._set_aside(block, outcomes, offsets)
        records = [outcome.data for outcome in outcomes]
        keys = None
        if self._is_keyed:
            choose = self.shipper.choose
            keys = [choose()[0] if outcome.key is None else outcome.key for outcome in outcomes]
        self._packer.add(block, records, keys)

    def _set_aside(
        self, block: Block, outcomes: list[Outcome], offsets: list[int]
    ) -> list[Outcome]:
        """Keep what cannot be shipped; return the others."""
        shipped = []
        for outcome, offset in zip(outcomes, offsets, strict=True):
            if not outcome.problem:
                shipped.append(outcome)
                continue
            self._dropped[outcome.problem.partition(":")[0].replace(" ", "_")] += 1
            if outcome.problem != "blank":
                self._keep((block.path, offset), outcome.problem, outcome.data)
        return shipped

    def _keep(self, place: tuple[str, int], problem: str, data: bytes) -> None:
        self._dead.add(self._wall(), self.flow.id, place, problem, data)

    def _hand_over(self) -> None:
        if self._packer.ready:
            self.shipper.offer(self._packer.ready)
            self._packer.ready = []

    def _on_done(self, entry: Entry) -> None:
        acknowledge = self.follower.acknowledge
        for block, parts in entry.blocks:
            acknowledge(block, parts)

    def _on_refused(self, entry: Entry, reason: str) -> None:
        block = entry.blocks[0][0]
        self._keep((block.path, block.end), f"refused: {reason}", entry.data)
        self._dropped["refused"] += entry.lines
        self._on_done(entry)


def _stream(flow: Flow, config: AgentConfig) -> Stream:
    options = config.options
    settings: dict[str, object] = {
        "retries": {"mode": "standard", "total_max_attempts": 1},  # the shipper knows what to do
        "connect_timeout": options.connect_timeout_millis / 1000,
        "read_timeout": options.socket_timeout_millis / 1000,
        "max_pool_connections": options.connections,
        "tcp_keepalive": options.tcp_keep_alive,
        "parameter_validation": False,  # a third of the time of a request
    }
    if options.user_agent_override:
        settings["user_agent"] = options.user_agent_override
    if options.user_agent:
        settings["user_agent_extra"] = f"oddlot {options.user_agent}"
    return Stream(flow.stream, is_firehose=flow.is_firehose, access=flow.access, settings=settings)
