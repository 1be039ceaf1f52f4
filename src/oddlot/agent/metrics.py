"""Numbers of the agent for CloudWatch (EMF lines) and for Prometheus (a page on loopback)."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from oddlot.agent.carry import FlowProgress
from oddlot.agent.flows import AgentConfig
from oddlot.errors import ConfigError

# Name in CloudWatch, its unit, and which count it is; the first four are named as the original's.
_SUMS = {
    "BytesSent": ("Bytes", "sent_bytes"),
    "RecordSendAttempts": ("Count", "attempts"),
    "RecordSendErrors": ("Count", "errors"),
    "ServiceErrors": ("Count", "failed_requests"),
    "LinesRead": ("Count", "read_lines"),
    "LinesSent": ("Count", "sent_lines"),
    "LinesSetAside": ("Count", "set_aside"),
    "FilesTruncated": ("Count", "file_truncated"),
    "BytesLost": ("Bytes", "file_lost"),
}
_NOW = {
    "LagMilliseconds": "Milliseconds",
    "UnreadBytes": "Bytes",
    "WaitingBytes": "Bytes",
}
_HOST = "127.0.0.1"


class Metrics:
    """Writes what changed since the last time, and answers Prometheus if a port is given.

    Raises:
        ConfigError: the port is taken.
    """

    def __init__(self, config: AgentConfig) -> None:
        self.problem = ""
        self._file = config.metrics_file
        self._namespace = config.options.namespace
        self._before: dict[str, Counter[str]] = {}
        self._page = b""
        self._server: ThreadingHTTPServer | None = None
        self._asked = threading.Event()
        self._shown = threading.Condition()
        port = config.options.metrics_port
        if port is not None:
            self._server = self._serve(port, config.place)

    @property
    def is_asked(self) -> bool:
        """Whether Prometheus waits for a page."""
        return self._asked.is_set()

    @property
    def port(self) -> int:
        """Where the page is; 0 for nowhere."""
        return self._server.server_port if self._server else 0

    def show(self, flows: Sequence[FlowProgress]) -> None:
        """Give Prometheus its page."""
        with self._shown:
            self._page = "".join(prometheus_lines(flows)).encode()
            self._asked.clear()
            self._shown.notify_all()

    def write(self, flows: Sequence[FlowProgress], wall_us: int) -> None:
        """Write an EMF line for each flow."""
        if self._file is None:
            return
        text = ""
        for flow in flows:
            counts = sums(flow)
            changes = counts - self._before.get(flow.flow, Counter())
            self._before[flow.flow] = counts
            text += json.dumps(emf(flow, changes, self._namespace, wall_us)) + "\n"
        try:
            if self._file == Path("-"):
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(text)
            self.problem = ""
        except OSError as error:
            self.problem = f"{self._file}: metrics cannot be written: {error.strerror}"

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _serve(self, port: int, place: str) -> ThreadingHTTPServer:
        metrics = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404)
                    return
                page = metrics._wait()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        try:
            server = ThreadingHTTPServer((_HOST, port), Page)
        except OSError as error:
            raise ConfigError(
                f"{place}: metrics.port must be free; got {port}: {error.strerror}"
            ) from None
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _wait(self) -> bytes:
        """Ask the agent's own thread for a page, which alone may look at the flows."""
        with self._shown:
            self._asked.set()
            self._shown.wait(timeout=5.0)
            return self._page


def sums(flow: FlowProgress) -> Counter[str]:
    """Return the totals that are metrics."""
    counts = flow.counts
    errors = sum(n for name, n in counts.items() if name.startswith("failed_"))
    errors -= counts.get("failed_requests", 0)
    aside = sum(n for name, n in counts.items() if name.startswith("dropped_"))
    known = {
        **counts,
        "errors": errors,
        "attempts": counts["sent_records"] + errors,
        "set_aside": aside - counts.get("dropped_blank", 0),
    }
    return Counter({name: known.get(key, 0) for name, (_, key) in _SUMS.items()})


def emf(
    flow: FlowProgress, changes: Mapping[str, int], namespace: str, wall_us: int
) -> dict[str, Any]:
    """Return one line of CloudWatch's embedded metric format.

    Source:
        Amazon CloudWatch User Guide, Embedded metric format specification.
    """
    units = {name: unit for name, (unit, _) in _SUMS.items()} | _NOW
    return {
        "_aws": {
            "Timestamp": wall_us // 1000,
            "CloudWatchMetrics": [
                {
                    "Namespace": namespace,
                    "Dimensions": [["Flow"]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
                }
            ],
        },
        "Flow": flow.flow,
        **{name: changes.get(name, 0) for name in _SUMS},
        "LagMilliseconds": flow.lag_us // 1000,
        "UnreadBytes": flow.unread_bytes,
        "WaitingBytes": flow.waiting_bytes,
    }


def prometheus_lines(flows: Sequence[FlowProgress]) -> Iterator[str]:
    """Yield the lines of a page in Prometheus' text format."""
    totals = [(flow.flow, sums(flow)) for flow in flows]
    for name in _SUMS:
        metric = f"oddlot_agent_{_snake(name)}_total"
        yield f"# TYPE {metric} counter\n"
        for flow_id, counts in totals:
            yield f"{metric}{{flow={json.dumps(flow_id, ensure_ascii=False)}}} {counts[name]}\n"
    gauges: dict[str, list[float]] = {
        "lag_seconds": [flow.lag_us / 1e6 for flow in flows],
        "unread_bytes": [flow.unread_bytes for flow in flows],
        "waiting_bytes": [flow.waiting_bytes for flow in flows],
        "problems": [len(flow.problems) for flow in flows],
    }
    for name, values in gauges.items():
        yield f"# TYPE oddlot_agent_{name} gauge\n"
        for flow, value in zip(flows, values, strict=True):
            label = json.dumps(flow.flow, ensure_ascii=False)
            yield f"oddlot_agent_{name}{{flow={label}}} {value}\n"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
