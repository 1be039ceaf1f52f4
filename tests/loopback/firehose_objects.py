"""What Firehose writes: the names of its objects, Parquet made of JSON, and its error records."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_EXPRESSION = re.compile(r"!\{(\w[\w-]*):([^}]*)\}")
_JAVA_TIME = re.compile(r"'([^']*)'|yyyy|MM|dd|HH|mm|ss")
_PYTHON_TIME = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_TYPES = {
    "string": "string",
    "bigint": "int64",
    "int": "int32",
    "smallint": "int16",
    "tinyint": "int8",
    "double": "float64",
    "float": "float32",
    "boolean": "bool",
}


class Record(NamedTuple):
    """A record that waits, and when it came (Unix seconds)."""

    data: bytes
    arrived: float


class Failure(NamedTuple):
    """A record that could not be converted, and why."""

    record: Record
    reason: str


class Name(NamedTuple):
    """What the name of an object is made of."""

    stream: str
    arrived: float
    chance: str

    def under(self, prefix: str, destination: dict[str, Any], extension: str) -> str:
        """Return an object's key; without a timestamp in the prefix, by year/month/day/hour."""
        return self._evaluate(prefix, destination, "") + self._file() + extension

    def under_errors(self, destination: dict[str, Any], kind: str) -> str:
        """Return the key of an object with records that failed in some way."""
        prefix = destination.get("ErrorOutputPrefix", "")
        if not prefix:
            prefix = f"{destination.get('Prefix', '')}{kind}/"
        return self._evaluate(prefix, destination, kind) + self._file()

    def _file(self) -> str:
        at = datetime.fromtimestamp(self.arrived, UTC)
        dashed = f"{self.chance[:8]}-{self.chance[8:12]}-{self.chance[12:16]}"
        dashed += f"-{self.chance[16:20]}-{self.chance[20:]}"
        return f"{self.stream}-1-{at:%Y-%m-%d-%H-%M-%S}-{dashed}"

    def _evaluate(self, prefix: str, destination: dict[str, Any], kind: str) -> str:
        zone = ZoneInfo(destination.get("CustomTimeZone") or "UTC")
        at = datetime.fromtimestamp(self.arrived, zone)

        def replace(match: re.Match[str]) -> str:
            space, value = match.groups()
            if space == "timestamp":
                return at.strftime(_JAVA_TIME.sub(_to_python, value))
            return kind if value == "error-output-type" else self.chance[:11]

        text = _EXPRESSION.sub(replace, prefix)
        return text if "!{timestamp:" in prefix else f"{text}{at:%Y/%m/%d/%H/}"


def find_wrong(destination: dict[str, Any]) -> str:
    """Return what Firehose would refuse about a destination; "" if nothing."""
    hints = destination.get("BufferingHints", {})
    converts = destination.get("DataFormatConversionConfiguration", {}).get("Enabled", False)
    least = 64 if converts else 1
    if not least <= hints.get("SizeInMBs", 128 if converts else 5) <= 128:
        return f"BufferingHints.SizeInMBs must be from {least} to 128"
    if not 0 <= hints.get("IntervalInSeconds", 300) <= 900:
        return "BufferingHints.IntervalInSeconds must be from 0 to 900"
    if converts and destination.get("CompressionFormat", "UNCOMPRESSED") != "UNCOMPRESSED":
        return "CompressionFormat must be UNCOMPRESSED where records are converted"
    prefix = destination.get("Prefix", "")
    errors = destination.get("ErrorOutputPrefix", "")
    if "!{" in prefix and not errors:
        return "ErrorOutputPrefix is required where Prefix has expressions"
    if "error-output-type" in prefix:
        return "Prefix must not have error-output-type"
    if "!{" in errors and "error-output-type" not in errors:
        return "ErrorOutputPrefix with expressions must have !{firehose:error-output-type}"
    known = {"timestamp", "firehose"}
    for space, value in _EXPRESSION.findall(prefix + errors):
        if space not in known:
            return f"the twin knows no !{{{space}:{value}}}"
    return ""


def join(records: list[Record], destination: dict[str, Any]) -> bytes:
    """Write records one after the other, with a delimiter only where the stream adds one."""
    delimiter = b""
    for step in destination.get("ProcessingConfiguration", {}).get("Processors", []):
        if step["Type"] == "AppendDelimiterToRecord":
            given = {one["ParameterName"]: one["ParameterValue"] for one in step["Parameters"]}
            delimiter = given["Delimiter"].encode().decode("unicode_escape").encode()
    return b"".join(record.data + delimiter for record in records)


def to_parquet(
    records: list[Record], columns: list[tuple[str, str]]
) -> tuple[bytes, list[Failure]]:
    """Convert JSON records; a record may hold several objects, each becomes a row.

    As the service's OpenX reader does: names are compared in lower case, columns that the table
    does not have are dropped, missing ones are null.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, _type_of(kind, pa)) for name, kind in columns])
    rows: list[dict[str, Any]] = []
    failed = []
    for record in records:
        try:
            found = [_row(one, schema, pa) for one in _objects(record.data)]
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            failed.append(Failure(record, str(error)))
        else:
            rows += found
    output = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema), output, compression="snappy")
    return output.getvalue(), failed


def describe_failures(failed: list[Failure], converts: dict[str, Any], now: float) -> bytes:
    """Write error records as Firehose does, one JSON object a line."""
    schema = converts["SchemaConfiguration"]
    lines = [
        json.dumps(
            {
                "attemptsMade": 1,
                "arrivalTimestamp": round(record.arrived * 1000),
                "lastErrorCode": "DataFormatConversion.ParseError",
                "lastErrorMessage": f"Encountered malformed JSON. {reason}",
                "attemptEndingTimestamp": round(now * 1000),
                "rawData": base64.b64encode(record.data).decode(),
                "sequenceNumber": None,
                "subSequenceNumber": None,
                "dataCatalogTable": {
                    "databaseName": schema["DatabaseName"],
                    "tableName": schema["TableName"],
                    "region": schema.get("Region", "us-east-1"),
                    "versionId": schema.get("VersionId", "LATEST"),
                    "roleArn": schema.get("RoleARN", ""),
                },
            }
        )
        for record, reason in failed
    ]
    return "\n".join([*lines, ""]).encode()


def _objects(data: bytes) -> list[dict[str, Any]]:
    text = data.decode()
    decoder = json.JSONDecoder()
    found, place = [], 0
    while rest := text[place:].lstrip():
        value, length = decoder.raw_decode(rest)
        if not isinstance(value, dict):
            raise ValueError("a record must be a JSON object")
        found.append(value)
        place = len(text) - len(rest) + length
    return found


def _row(value: dict[str, Any], schema: Any, pa: Any) -> dict[str, Any]:
    lower = {name.lower(): one for name, one in value.items()}
    row = {}
    for field in schema:
        one = lower.get(field.name.lower())
        if one is not None and pa.types.is_timestamp(field.type):
            one = _read_time(one)
        elif one is not None and pa.types.is_string(field.type) and not isinstance(one, str):
            one = json.dumps(one, separators=(",", ":"))
        row[field.name] = one
    pa.Table.from_pylist([row], schema)  # raises where a value does not fit
    return row


def _read_time(value: object) -> datetime:
    if isinstance(value, int | float):  # milliseconds, or seconds with a fraction
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    at = datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _type_of(kind: str, pa: Any) -> Any:
    kind = kind.lower()
    if kind == "timestamp":
        return pa.timestamp("ms", "UTC")
    if kind == "date":
        return pa.date32()
    if kind not in _TYPES:
        raise ValueError(f"column type must be one of: {', '.join(_TYPES)}; got {kind}")
    return getattr(pa, _TYPES[kind].replace("bool", "bool_"))()


def _to_python(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1].replace("%", "%%")
    return _PYTHON_TIME[match[0]]
