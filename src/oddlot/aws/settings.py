"""What the function's environment says it must do."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from oddlot.errors import ConfigError

_SEEN = re.compile(r"s3://([a-z0-9.-]{3,63})/(?:(.*[^/])/*)?")
_TOPIC = re.compile(r"arn:[\w-]+:sns:([\w-]+):\d*:[\w.-]+")
_QUEUE = re.compile(r"https?://\S+")


class Topic(NamedTuple):
    """Where alerts that are worth enough go.

    Attributes:
        level: its name, such as "critical".
        least: the severity from which on alerts go there, in the shop's currency.
        arn: of the SNS topic.
    """

    level: str
    least: float
    arn: str


class Settings(NamedTuple):
    """The function's settings.

    Attributes:
        topics: the highest first; the last takes everything that is left.
        orders_stream: where the lines of order objects go; "" for nowhere.
        seen: bucket and folder that remember what was published; empty for nowhere.
        dead_letters: URL of a queue or ARN of a topic for what no retry can help; "" for the log.
        namespace: of the metrics.
        function: the function's name.
    """

    topics: tuple[Topic, ...]
    orders_stream: str
    seen: tuple[str, str] | None
    dead_letters: str
    namespace: str
    function: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        ConfigError: one of them is missing or wrong; the text names it.
    """
    arns = _read_object(environment, "ODDLOT_TOPICS")
    leasts = _read_object(environment, "ODDLOT_SEVERITIES")
    if not arns:
        raise ConfigError('ODDLOT_TOPICS must be like {"critical": "arn:aws:sns:..."}; got nothing')
    for level, arn in arns.items():
        if not isinstance(arn, str) or not _TOPIC.fullmatch(arn):
            raise ConfigError(
                f"ODDLOT_TOPICS: {level} must be the ARN of an SNS topic; got {arn!r}"
            )
    for level, least in leasts.items():
        is_number = isinstance(least, int | float) and not isinstance(least, bool)
        if not is_number or not math.isfinite(least):
            raise ConfigError(f"ODDLOT_SEVERITIES: {level} must be a number; got {least!r}")
    unknown = sorted(set(leasts) - set(arns))
    if unknown:
        raise ConfigError(
            f"ODDLOT_SEVERITIES: {unknown[0]} must be one of ODDLOT_TOPICS: {', '.join(arns)}"
        )
    topics = sorted(
        (Topic(level, float(leasts.get(level, 0)), arn) for level, arn in arns.items()),
        key=lambda topic: -topic.least,
    )
    seen = environment.get("ODDLOT_SEEN", "")
    found = _SEEN.fullmatch(seen)
    if seen and not found:
        raise ConfigError(f"ODDLOT_SEEN must be s3://bucket/folder/; got {seen!r}")
    dead_letters = environment.get("ODDLOT_DEAD_LETTERS", "")
    if dead_letters and not (_TOPIC.fullmatch(dead_letters) or _QUEUE.fullmatch(dead_letters)):
        raise ConfigError(
            "ODDLOT_DEAD_LETTERS must be the URL of a queue or the ARN of a topic;"
            f" got {dead_letters!r}"
        )
    return Settings(
        topics=tuple(topics),
        orders_stream=environment.get("ODDLOT_ORDERS_STREAM", ""),
        seen=(found[1], found[2] or "") if found else None,
        dead_letters=dead_letters,
        namespace=environment.get("ODDLOT_METRICS_NAMESPACE", "Oddlot"),
        function=environment.get("AWS_LAMBDA_FUNCTION_NAME", "oddlot"),
    )


def _read_object(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    text = environment.get(name, "") or "{}"
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{name} must be a JSON object; got {text[:100]!r}")
    return found
