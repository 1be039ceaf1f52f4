"""What things are called, on both sides: in the stack and in the files beside it."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Aws

HERE = Path(__file__).parent.parent

ORDERS = "acmecoOrders"
ALERTS = "acmecoAlerts"
DELIVERIES = {"orders": "orders-to-s3", "alerts": "alerts-to-s3"}
FUNCTION = "inventory-alert-function"
HANDLER = "oddlot.aws.handler.anomaly_handler"
DATABASE = "oddlot"
WORKGROUP = "oddlot"
FLINK = "oddlot-flink"
NAMESPACE = "Oddlot"  # of the metrics

# Incidents worth so much at least, in the shop's currency, go to the topic of that name.
SEVERITIES = {"critical": 1000, "warning": 100, "notice": 0}

# The folders of the bucket.
ARCHIVE = "archive"  # Oddlot's own Parquet, copied by the engine's host
LANDED = "landed"  # what Firehose wrote: every record as it came
FAILED = "failed"  # what Firehose could not turn into Parquet
INBOX = "inbox"  # an object put here starts the function
SEEN = "seen"  # ids of alerts that the function has published
RESULTS = "results"  # of Athena

BUCKET = f"oddlot-{Aws.ACCOUNT_ID}-{Aws.REGION}"
LOGS_BUCKET = f"oddlot-logs-{Aws.ACCOUNT_ID}-{Aws.REGION}"


def arn(service: str, resource: str) -> str:
    """Return the ARN of something in this account and region."""
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"


def bucket_arn(bucket: str, objects: str = "") -> str:
    """Return the ARN of a bucket, or of objects in it."""
    return f"arn:{Aws.PARTITION}:s3:::{bucket}" + (f"/{objects}" if objects else "")


def stream_arn(stream: str) -> str:
    """Return the ARN of a Kinesis stream."""
    return arn("kinesis", f"stream/{stream}")


def log_arn(group: str, stream: str) -> str:
    """Return the ARN of a log stream."""
    return arn("logs", f"log-group:{group}:log-stream:{stream}")
