"""The job that hosts the detectors in Flink."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pandas as pd
from pyflink.common import Configuration, Types
from pyflink.common.serialization import Encoder
from pyflink.datastream import (
    DataStream,
    KeyedProcessFunction,
    OutputTag,
    RuntimeContext,
    StreamExecutionEnvironment,
    TimeDomain,
)
from pyflink.datastream.connectors.file_system import FileSink, OutputFileConfig, RollingPolicy
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import udf

from oddlot.engine.flink import worker  # noqa: F401  # before anything that imports numba
from oddlot.engine.flink.slots import Logged, Ordering, RuleSlot, Told, read_config, write_told

_END_MS = 2**63 - 2  # just before the watermark of an input that has ended
_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_SPLIT = OutputTag("split", Types.TUPLE([Types.INT(), _BYTES]))


def main() -> None:
    """Build the job, submit it, and wait for its end if asked to."""
    order: dict[str, Any] = json.load(sys.stdin)
    config = read_config(order["config"])
    settings = Configuration()
    for key, value in order["settings"].items():
        settings.set_string(key, value)
    environment = make_environment(settings)
    packed = read_batches(StreamTableEnvironment.create(environment), order["statements"])
    names = ["alerts", "incidents", "rejects"]
    ordered = (
        packed.key_by(lambda batch: 0)
        .process(Slot(order["config"], order["idle_ms"], is_rule=False), Types.STRING())
        .uid("order")
        .name("decode, order, test, decide")
    )
    rules = [one for one in config.detectors if one.is_rule]
    streams = [(names, ordered)]
    if rules:
        from oddlot.engine.scoring import type_of

        scored = (
            ordered.get_side_output(_SPLIT)
            .key_by(lambda piece: piece[0])
            .process(Slot(order["config"], None, is_rule=True), Types.STRING())
            .uid("rules")
            .name("score rules")
        )
        streams.append(([f"rows.{type_of(rule)}" for rule in rules], scored))
    for outputs, stream in streams:
        for name in outputs:
            write_files(stream.get_side_output(_tag(name)), order["output"], name)
    client = environment.execute_async(order["name"])
    _tell({"job": str(client.get_job_id())})
    if order["waits"]:
        client.get_job_execution_result().result()
        _tell({"done": 1})


def make_environment(settings: Configuration) -> StreamExecutionEnvironment:
    """Return an environment that sends its job where `execution.target` says.

    PyFlink's own way knows a cluster only for a program that Flink's command line started.
    """
    if settings.get_string("execution.target", "local") == "local":
        return StreamExecutionEnvironment.get_execution_environment(settings)
    kind = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(kind(settings._j_configuration))  # noqa: SLF001  # no other


def read_batches(tables: StreamTableEnvironment, statements: list[str]) -> DataStream:
    """Return batches of raw records, each as MessagePack for `Ordering.take`.

    A vectorised function gathers the records: it sees some thousands at a time, and gives all of
    them as the value of the first row and nothing for the others. So only whole batches are
    sent to Python one by one, and no window of time is needed to cut them.
    """
    tables.create_temporary_function(
        "gather", udf(gather, result_type=DataTypes.BYTES(), func_type="pandas")
    )
    for statement in statements:
        tables.execute_sql(statement)
    tables.execute_sql(
        "CREATE TEMPORARY VIEW gathered AS SELECT gather(place, record) AS batch FROM records"
    )
    found = tables.sql_query("SELECT batch FROM gathered WHERE batch IS NOT NULL")
    return tables.to_data_stream(found)


def gather(place: pd.Series, record: pd.Series) -> pd.Series:
    """Join records into one batch, by their partitions in the order of first sight."""
    runs: list[tuple[str, bytes]] = []
    places, records = place.tolist(), record.tolist()
    first = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[first]:
            runs.append((places[first], b"\n".join(records[first:at]) + b"\n"))
            first = at
    batch: list[bytes | None] = [None] * len(places)
    if batch:
        batch[0] = msgspec.msgpack.encode(runs)
    return pd.Series(batch, dtype=object)


class Slot(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink ships no types
    """A slot of the job: an `Ordering`, or a `RuleSlot` for each key."""

    def __init__(self, config: str, idle_ms: int | None, is_rule: bool) -> None:
        self._config = config
        self._idle_ms = idle_ms
        self._is_rule = is_rule

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin, or begin again after a failure."""
        from oddlot.kernels import prepare_kernels

        prepare_kernels()
        self._settings = read_config(self._config)
        self._slots: dict[int, Logged] = {}
        self._heard_ms = 0
        kept = ValueStateDescriptor("snapshot", _BYTES)
        log = MapStateDescriptor("log", Types.LONG(), _BYTES)
        self._kept = runtime_context.get_state(kept)
        self._log = runtime_context.get_map_state(log)

    def take(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Take a batch."""
        timers = ctx.timer_service()
        now_us = timers.current_processing_time() * 1000
        batch = bytes(value[1] if self._is_rule else value[0])
        told = self._slot(ctx.get_current_key()).take(batch, now_us)
        if not self._is_rule:
            timers.register_event_time_timer(_END_MS)
            if self._idle_ms is not None:
                # Only now: while a batch is scored, the next ones wait, and that is no silence.
                self._heard_ms = timers.current_processing_time()
                timers.register_processing_time_timer(self._heard_ms + self._idle_ms)
        yield from self._tell(told)

    process_element = take  # what Flink calls it

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Release what is pending: the input has ended, or nothing has come for long."""
        is_idle = ctx.time_domain() == TimeDomain.PROCESSING_TIME
        if is_idle and (self._idle_ms is None or timestamp < self._heard_ms + self._idle_ms):
            return
        now_us = ctx.timer_service().current_processing_time() * 1000
        slot = self._slot(ctx.get_current_key())
        yield from self._tell(slot.finish(now_us, has_ended=not is_idle))

    def _slot(self, key: int) -> Logged:
        slot = self._slots.get(key)
        if slot is None:
            kind = RuleSlot if self._is_rule else Ordering
            slot = self._slots[key] = Logged(kind(self._settings), self._log, self._kept)
        return slot

    def _tell(self, told: Told) -> Iterator[Any]:
        for name, lines in write_told(told):
            yield _tag(name), lines
        for slot, piece in told.split.items():
            yield _SPLIT, (slot, piece)


def write_files(lines: DataStream, folder: str, name: str) -> None:
    """Write lines into files that appear, each once, with the checkpoint that covers them."""
    sink = (
        FileSink.for_row_format(f"{folder}/{name}", Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .with_output_file_config(
            OutputFileConfig.builder().with_part_prefix("part").with_part_suffix(".txt").build()
        )
        .build()
    )
    lines.sink_to(sink).uid(f"write {name}").name(f"write {name}")


def _tag(name: str) -> OutputTag:
    return OutputTag(name, Types.STRING())


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  # the program that started this one reads it
