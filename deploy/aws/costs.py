"""Prints what the stack costs a day, by component, from the template and a list of prices."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

# List prices in US dollars, us-east-1, as published in 2025: look them up before you rely on them.
PRICES = {
    "shard, an hour": 0.015,
    "shard kept for over a day, an hour": 0.020,
    "million put units of 25 KB": 0.014,
    "t4g.small, an hour": 0.0168,
    "t4g.medium, an hour": 0.0336,
    "public address, an hour": 0.005,
    "GB of gp3, a month": 0.08,
    "GB through Firehose": 0.029,
    "GB made Parquet by Firehose": 0.018,
    "GB of S3, a month": 0.023,
    "thousand puts to S3": 0.005,
    "million calls of Lambda": 0.20,
    "GB-second of Lambda on arm64": 0.0000133334,
    "million messages of SNS": 0.50,
    "key, a month": 1.00,
    "alarm, a month": 0.10,
    "dashboard, a month": 3.00,
    "metric, a month": 0.30,
    "GB of logs taken in": 0.50,
    "KPU of Managed Flink, an hour": 0.11,
    "GB of Managed Flink, a month": 0.10,
}
MONTH = 30  # days
FIREHOSE_KB = 5  # a record counts as a multiple of so much
METRICS = 20  # of the agent and the function
LOGS_GB = 0.02  # a day, of hosts and function
SECOND = 1.0  # that the function takes for a batch


def price(name: str, count: float = 1.0) -> float:
    """Return the price of so many."""
    return PRICES[name] * count


def costs(
    template: dict[str, Any], lines: float, alerts: float, line_bytes: int, pack: int
) -> dict[str, float]:
    """Return dollars a day by component.

    Args:
        template: of the stack; one shard for the orders.
        lines, alerts: a day.
        line_bytes: of one line on the stream.
        pack: lines in a record.
    """
    kinds = Counter(one["Type"] for one in template["Resources"].values())
    shards = kinds["AWS::Kinesis::Stream"]
    records = lines / pack + alerts
    in_firehose = FIREHOSE_KB * -(-line_bytes * pack // (FIREHOSE_KB * 1024))
    landed = (lines / pack * in_firehose + alerts * FIREHOSE_KB) / 1024**2  # GB
    batches = min(alerts, 86_400 / 5)
    return {
        "Kinesis: the shards": price("shard, an hour", 24 * shards),
        "Kinesis: seven days of keeping": price("shard kept for over a day, an hour", 24 * shards),
        "Kinesis: records put": price("million put units of 25 KB", records / 1e6),
        "EC2: the generator and its agent": _host("t4g.small, an hour"),
        "EC2: the engine": _host("t4g.medium, an hour"),
        "Firehose, made Parquet": price("GB through Firehose", landed)
        + price("GB made Parquet by Firehose", landed),
        "S3: a month of lines, and puts": price("GB of S3, a month", lines * line_bytes / 1e9)
        + price("thousand puts to S3", (2 * 288 + 2 * 288 + alerts) / 1000),
        "Lambda": price("million calls of Lambda", batches / 1e6)
        + price("GB-second of Lambda on arm64", batches * SECOND * 0.25),
        "SNS, without what an e-mail or text costs": price("million messages of SNS", alerts / 1e6),
        "KMS: the topics' key": price("key, a month", 1 / MONTH),
        "CloudWatch: alarms, dashboard, metrics, logs": (
            price("alarm, a month", kinds["AWS::CloudWatch::Alarm"] / MONTH)
            + price("dashboard, a month", 1 / MONTH)
            + price("metric, a month", METRICS / MONTH)
            + price("GB of logs taken in", LOGS_GB)
        ),
    }


def flink() -> float:
    """Return dollars a day of the engine on Managed Flink: one unit of work and one to lead it."""
    storage = price("GB of Managed Flink, a month", 50 / MONTH)
    return price("KPU of Managed Flink, an hour", 2 * 24) + storage


def table(template: dict[str, Any]) -> str:
    """Return the table in Markdown: a small shop, a large one, and that one packed."""
    cases = [(2_000.0, 20.0, 1), (1_000_000.0, 200.0, 1), (1_000_000.0, 200.0, 20)]
    every = [costs(template, lines, alerts, 200, pack) for lines, alerts, pack in cases]
    rows = [
        "| dollars a day | 2,000 lines | 1,000,000 lines | 1,000,000, 20 to a record |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {name} | " + " | ".join(f"{one[name]:.2f}" for one in every) + " |" for name in every[0]
    ]
    sums = " | ".join(f"**{sum(one.values()):.2f}**" for one in every)
    rows.append(f"| **together** | {sums} |")
    rows.append(
        f"| Managed Flink instead of the engine's host | {' | '.join([f'{flink():.2f}'] * 3)} |"
    )
    return "\n".join(rows)


def _host(size: str) -> float:
    return (
        price(size, 24)
        + price("public address, an hour", 24)
        + price("GB of gp3, a month", 20 / MONTH)
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    template = json.loads((Path(__file__).parent / "template.json").read_text())
    print(table(template))


if __name__ == "__main__":
    main()
