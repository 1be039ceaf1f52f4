"""Runs SQL statements in Flink; started by Flink's own Python, with the order on standard input."""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Run the statements in order, and wait for the last INSERT if asked to."""
    order: dict[str, Any] = json.load(sys.stdin)
    from pyflink.table import EnvironmentSettings, TableEnvironment

    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in order["settings"].items():
        environment.get_config().set(key, value)
    jobs = []
    for statement in order["statements"]:
        result = environment.execute_sql(statement)
        client = result.get_job_client()
        if client is not None:
            jobs.append(result)
            tell({"job": str(client.get_job_id())})
        elif statement.lstrip()[:6].upper() in ("SELECT", "SHOW T", "DESCRI", "EXPLAI"):
            result.print()
    if order["waits"]:
        for result in jobs:
            result.wait()
    tell({"done": len(jobs)})


def tell(what: dict[str, Any]) -> None:
    """Print one line of JSON, at once."""
    print(json.dumps(what), flush=True)  # noqa: T201  # the program that started this one reads it


if __name__ == "__main__":
    main()
