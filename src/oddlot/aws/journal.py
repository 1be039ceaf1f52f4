"""The function's log: one JSON object a line, and its metrics in CloudWatch's embedded format."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

_LONGEST = 300  # characters of one value: a log is no place for what people send
# Always written, so that a metric that is 0 is there; the rest where it is not 0.
METRICS = ("Alerts", "Published", "Repeated", "Failed", "Rejected")
SPARE_METRICS = ("DeadLettered", "OrderLines", "OrderLinesRepeated")


class Journal:
    """What one invocation says; each value is plain JSON, whatever a product is called.

    Attributes:
        counts: the metrics by name.

    Args:
        function: its name, the metrics' dimension.
        request_id: of the invocation; in every line.
        namespace: of the metrics.
        write: gets a line with its end.
        clock_s: Unix seconds.
    """

    def __init__(
        self,
        function: str,
        request_id: str,
        namespace: str,
        *,
        write: Callable[[str], object],
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._function = function
        self._request_id = request_id
        self._namespace = namespace
        self._write = write
        self._clock_s = clock_s
        self._began = clock_s()

    def say(self, level: str, message: str, **fields: object) -> None:
        """Write a line.

        Args:
            level: "INFO", "WARN" or "ERROR".
            message: a fixed text, to search for.
            fields: what differs; long texts are cut.
        """
        line: dict[str, Any] = {
            "timestamp": _iso(self._clock_s()),
            "level": level,
            "message": message,
            "requestId": self._request_id,
        }
        for name, value in fields.items():
            line[name] = value[:_LONGEST] if isinstance(value, str) else value
        self._write(json.dumps(line) + "\n")

    def finish(self) -> None:
        """Write the metrics of the invocation."""
        now = self._clock_s()
        shown = [*METRICS, *(name for name in SPARE_METRICS if self.counts[name])]
        metrics = [{"Name": name, "Unit": "Count"} for name in shown]
        metrics.append({"Name": "Milliseconds", "Unit": "Milliseconds"})
        line = {
            "_aws": {
                "Timestamp": int(now * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [["function"]],
                        "Metrics": metrics,
                    }
                ],
            },
            "function": self._function,
            "requestId": self._request_id,
            **{name: self.counts[name] for name in shown},
            "Milliseconds": round((now - self._began) * 1000, 3),
        }
        self._write(json.dumps(line) + "\n")


def _iso(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"
