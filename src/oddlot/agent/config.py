"""An agent.json, as Amazon Kinesis Agent reads it, becomes checked records."""

from __future__ import annotations

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from oddlot import catalog
from oddlot.agent.flows import AgentConfig, Flow
from oddlot.agent.lenient import read_json
from oddlot.agent.logs import FORMATS
from oddlot.agent.options import (
    STEPS,
    UNUSED,
    UNUSED_IN_FLOW,
    Added,
    AgentOptions,
    CsvToJson,
    FlowOptions,
    LogToJson,
    Step,
)
from oddlot.agent.patterns import check_pattern, compile_text_pattern
from oddlot.errors import ConfigError
from oddlot.streams.aws import Access

__all__ = ["AgentConfig", "Flow", "describe", "load"]

DEFAULT_REGION = "us-east-1"  # the original's, where no address says another
_FIREHOSE_RECORD = 1000 << 10


def load(path: str | os.PathLike[str]) -> AgentConfig:
    """Read an agent.json and the flows of the *.json files in the folder agent.d beside it.

    Raises:
        ConfigError: a file cannot be read, or says something wrong.
    """
    file = Path(path)
    place = os.fspath(path)
    notes = _Notes()
    table = read_json(file)
    options = _read_options(table, place, notes)
    if options.secret_access_key and file.stat().st_mode & 0o004:
        notes.cautions.append(f"{place}: holds a secret, and everyone on this machine may read it")
    folder = file.resolve().parent
    flows = _read_flows(table.get("flows"), place, folder, options, notes)
    more = folder / "agent.d"
    for extra in sorted(more.glob("*.json")):
        at = str(Path(place).parent / "agent.d" / extra.name)
        inner = read_json(extra)
        for key in inner:
            if key != "flows":
                notes.unknown.append(f"{at}: key must be flows; got {catalog.show(key)}")
        flows += _read_flows(inner.get("flows"), at, folder, options, notes)
    if not flows:
        raise ConfigError(f"{place}: flows must be a list of at least one flow; got nothing")
    _refuse_twins(flows, place)
    return AgentConfig(
        tuple(flows), options, place, folder, tuple(notes.unknown), tuple(notes.cautions)
    )


class _Notes:
    """What a check has to say beside errors."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.cautions: list[str] = []


def _read_options(table: Mapping[str, Any], place: str, notes: _Notes) -> AgentOptions:
    rest = {key: value for key, value in table.items() if key != "flows"}
    options: AgentOptions = _convert(AgentOptions, rest, UNUSED, place, notes, also=("flows",))
    if bool(options.access_key_id) != bool(options.secret_access_key):
        raise ConfigError(
            f"{place}: awsAccessKeyId and awsSecretAccessKey must come together; got only one"
        )
    return options


def _read_flows(
    tables: object, place: str, folder: Path, options: AgentOptions, notes: _Notes
) -> list[Flow]:
    if tables is None:
        return []
    if not isinstance(tables, list):
        raise ConfigError(f"{place}: flows must be a list; got {catalog.show(tables)}")
    return [
        _read_flow(table, f"{place}: flow {number}", folder, options, notes)
        for number, table in enumerate(tables, 1)
    ]


def _read_flow(
    table: object, place: str, folder: Path, options: AgentOptions, notes: _Notes
) -> Flow:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table; got {catalog.show(table)}")
    rest = {key: value for key, value in table.items() if key != "dataProcessingOptions"}
    flow = _convert(
        FlowOptions, rest, UNUSED_IN_FLOW, place, notes, also=("dataProcessingOptions",)
    )
    if bool(flow.kinesis_stream) == bool(flow.delivery_stream):
        got = "both" if flow.kinesis_stream else "nothing"
        raise ConfigError(
            f"{place}: kinesisStream or deliveryStream must be the name of a stream; got {got}"
        )
    steps = _read_steps(table.get("dataProcessingOptions", []), place, notes)
    is_firehose = bool(flow.delivery_stream)
    _check_flow(flow, steps, place, notes)
    written = flow.file_pattern
    patterns = (written,) if isinstance(written, str) else written
    if not patterns or not all(patterns):
        raise ConfigError(f"{place}: filePattern must be a path or a list of paths; got nothing")
    stream = flow.delivery_stream or flow.kinesis_stream
    service = "firehose" if is_firehose else "kinesis"
    return Flow(
        id=f"{service}:{stream}:{','.join(patterns)}",
        patterns=tuple(_absolute(folder, pattern) for pattern in patterns),
        stream=stream,
        is_firehose=is_firehose,
        access=_find_access(options, service),
        options=flow,
        steps=steps,
        added=dict(_name_added(flow.add_fields)),
    )


def _absolute(folder: Path, pattern: str) -> str:
    """Join a pattern to the folder; a [ in the folder's name must not become a glob."""
    path = Path(pattern).expanduser()
    if path.is_absolute():
        return str(path)
    return str(Path(glob.escape(str(folder)) if glob.has_magic(pattern) else folder) / path)


def _name_added(fields: tuple[Added, ...] | dict[str, Added]) -> Iterable[tuple[str, Added]]:
    return fields.items() if isinstance(fields, dict) else ((name, name) for name in fields)


def _check_flow(flow: FlowOptions, steps: tuple[Step, ...], place: str, notes: _Notes) -> None:
    """Refuse what cannot go together."""
    is_json = any(isinstance(step, CsvToJson | LogToJson) for step in steps)
    for name, pattern in (
        ("multiLineStartPattern", flow.multi_line_start_pattern),
        ("fileFooterPattern", flow.file_footer_pattern),
        ("partitionKeyPattern", flow.partition_key_pattern),
    ):
        if pattern is not None:
            notes.cautions += check_pattern(pattern, f"{place}: {name}")
    if flow.delivery_stream:
        for key, value in (
            ("partitionKeyField", flow.partition_key_field),
            ("partitionKeyPattern", flow.partition_key_pattern),
        ):
            if value:
                raise ConfigError(f"{place}: {key} must be left out: Firehose has no keys; got it")
        if flow.aggregation == "kpl":
            raise ConfigError(f"{place}: aggregation must be ndjson for Firehose; got 'kpl'")
        if (flow.max_record_size_bytes or 0) > _FIREHOSE_RECORD:
            raise ConfigError(
                f"{place}: maxRecordSizeBytes must be at most {_FIREHOSE_RECORD} for Firehose; "
                f"got {flow.max_record_size_bytes}"
            )
    elif flow.aggregated_record_size_bytes and flow.aggregation == "auto":
        notes.cautions.append(
            f"{place}: aggregatedRecordSizeBytes: has no meaning for Kinesis without aggregation: "
            "kpl or ndjson"
        )
    if flow.partition_key_field and flow.partition_key_pattern:
        raise ConfigError(
            f"{place}: partitionKeyField or partitionKeyPattern must be left out; got both"
        )
    if not is_json:
        for key, is_used in (
            ("partitionKeyField", bool(flow.partition_key_field)),
            ("addFields", bool(flow.add_fields)),
        ):
            if is_used:
                notes.cautions.append(
                    f"{place}: {key}: lines must be JSON objects already, as neither CSVTOJSON nor "
                    "LOGTOJSON makes them; others are shipped without it and counted"
                )


def _read_steps(tables: object, place: str, notes: _Notes) -> tuple[Step, ...]:
    place = f"{place}: dataProcessingOptions"
    if not isinstance(tables, list):
        raise ConfigError(f"{place} must be a list, [{{...}}]; got {catalog.show(tables)}")
    steps: list[Step] = []
    for number, table in enumerate(tables, 1):
        at = f"{place} {number}"
        if not isinstance(table, Mapping):
            raise ConfigError(f"{at}: must be a table; got {catalog.show(table)}")
        name = table.get("optionName")
        if not isinstance(name, str) or name not in STEPS:
            raise ConfigError(
                f"{at}: optionName must be one of: {', '.join(STEPS)}; got {catalog.show(name)}"
                f"{catalog.suggest(name, STEPS)}"
            )
        rest = {key: value for key, value in table.items() if key != "optionName"}
        step = _convert(STEPS[name], rest, {}, at, notes, also=("optionName",))
        _check_step(step, at, notes)
        steps.append(step)
    return tuple(steps)


def _check_step(step: object, place: str, notes: _Notes) -> None:
    if isinstance(step, CsvToJson):
        _check_csv(step, place, notes)
    if not isinstance(step, LogToJson):
        return
    names = step.custom_field_names
    if step.match_pattern is None:
        most = len(FORMATS[step.log_format][1])
        if names is not None and len(names) > most:
            raise ConfigError(
                f"{place}: customFieldNames must be {most} names at most for {step.log_format}; "
                f"got {len(names)}"
            )
        return
    notes.cautions += check_pattern(step.match_pattern, f"{place}: matchPattern")
    if names is None:
        raise ConfigError(f"{place}: customFieldNames must come with matchPattern; got nothing")
    groups = compile_text_pattern(step.match_pattern).groups
    if groups < len(names):
        raise ConfigError(
            f"{place}: matchPattern must have a group ( ) for each of the {len(names)} "
            f"customFieldNames; got {groups}"
        )


def _check_csv(step: CsvToJson, place: str, notes: _Notes) -> None:
    is_literal = bool(step.character)
    twice = [name for name, count in Counter(step.custom_field_names).items() if count > 1]
    if twice:
        notes.cautions.append(
            f"{place}: customFieldNames: {catalog.show(twice[0])} is there twice: the later column "
            "is kept"
        )
    if step.csv_mode == "rfc4180" and not is_literal:
        raise ConfigError(
            f"{place}: delimiter must be one character where csvMode is rfc4180; "
            f"got {catalog.show(step.delimiter)}"
        )
    if not step.knows_quotes:
        notes.cautions += check_pattern(step.delimiter, f"{place}: delimiter")
        if compile_text_pattern(step.delimiter).match(""):
            raise ConfigError(f"{place}: delimiter must not fit nothing; got {step.delimiter!r}")
    if step.csv_mode is None and not is_literal:
        notes.cautions.append(
            f"{place}: delimiter {catalog.show(step.delimiter)} is a regular expression, so "
            'csvMode is "kinesis-agent": quotes mean nothing'
        )


def _convert(
    record: type[Any],
    table: Mapping[str, Any],
    unused: Mapping[str, str],
    place: str,
    notes: _Notes,
    also: tuple[str, ...],
) -> Any:
    """Turn a table into a record; note what is unknown or without meaning, and leave it out."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(record)}
    known: dict[str, Any] = {}
    for key, value in table.items():
        if key in unused:
            notes.cautions.append(f"{place}: {key}: accepted, has no meaning here: {unused[key]}")
        elif key not in fields:
            near = catalog.suggest(key, [*also, *fields, *unused])
            notes.unknown.append(f"{place}: {key}: is no option{near}")
        elif value is not None:
            known[key] = _loosen(value, fields[key].type)
    return catalog.convert(record, known, place)


def _loosen(value: Any, expected: Any) -> Any:
    """Read "1000" as 1000 and "true" as true where a number or truth is wanted."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.convert(value, expected, strict=False)
    except msgspec.ValidationError:
        return value


def _find_access(options: AgentOptions, service: str) -> Access:
    """Return how to reach a service: kinesis or firehose."""
    written = options.kinesis_endpoint if service == "kinesis" else options.firehose_endpoint
    endpoint, region = _split_endpoint(written)
    region = (options.kinesis_region if service == "kinesis" else "") or region or DEFAULT_REGION
    return Access(
        region=region,
        endpoint=endpoint,
        role=options.role,
        external_id=options.external_id,
        sts_endpoint=_split_endpoint(options.sts_endpoint)[0],
        key_id=options.access_key_id,
        secret=options.secret_access_key,
    )


_AWS_HOST = re.compile(r"(?:^|\.)(?:kinesis|firehose|sts)(?:-fips)?\.([a-z]{2}(?:-[a-z0-9]+)+)\.")


def _split_endpoint(written: str) -> tuple[str, str]:
    """Return an address with its scheme, or "" for none, and the region that it names, or ""."""
    written = written.strip()
    if not written:
        return "", ""
    endpoint = written if "://" in written else f"https://{written}"
    region = _AWS_HOST.search(endpoint.partition("://")[2])
    return endpoint, region[1] if region else ""


def _refuse_twins(flows: list[Flow], place: str) -> None:
    seen: set[str] = set()
    for number, flow in enumerate(flows, 1):
        if flow.id in seen:
            raise ConfigError(
                f"{place}: flow {number}: filePattern and stream must differ from the others'; "
                f"got {flow.id} twice"
            )
        seen.add(flow.id)


def describe(config: AgentConfig) -> str:
    """Return what a config was understood as, for --check: a JSON line for each flow."""
    return "\n".join(
        json.dumps(
            {
                "flow": flow.id,
                "files": list(flow.patterns),
                "matching_now": sum(len(glob.glob(one, recursive=True)) for one in flow.patterns),
                "begins_at": "end" if flow.starts_at_end else "start",
                "service": "firehose" if flow.is_firehose else "kinesis",
                "stream": flow.stream,
                "region": flow.access.region,
                "endpoint": flow.access.endpoint,
                "steps": [_name_of(step) for step in flow.steps],
                "key": _describe_key(flow),
                "aggregation": flow.aggregation,
                "state": str(config.state),
            },
            ensure_ascii=False,
        )
        for flow in config.flows
    )


def _describe_key(flow: Flow) -> str | None:
    options = flow.options
    if flow.is_firehose:
        return None
    if options.partition_key_field:
        return f"field {options.partition_key_field}"
    if options.partition_key_pattern:
        return f"pattern {options.partition_key_pattern}"
    return options.partition_key_option.lower()


def _name_of(step: Step) -> str:
    return next(name for name, record in STEPS.items() if type(step) is record)
