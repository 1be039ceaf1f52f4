"""Starts every server, makes the stack's resources, says where they are, waits for Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from loopback import fixtures, servers
from loopback.pipeline import Pipeline

_TEXT = """\
Everything runs, on this machine's loopback only. Ctrl-C ends it all.

{exports}

In {folder}:
  oddlot agent agent.json          {orders} and {delivery}
  oddlot run shop.toml             from {orders}, alerts to {alerts}
  oddlot replay FILE --to logs/a   the logs that the agent follows
The function reads {alerts} and publishes to {topics}.
"""


def serve(folder: Path | None) -> int:
    """Run until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oddlot-aws-")))
        kinesis = stack.enter_context(fixtures.run_kinesis())
        s3 = stack.enter_context(fixtures.run_s3())
        ministack = stack.enter_context(fixtures.run_ministack())
        pipeline = stack.enter_context(
            Pipeline(folder / "pipeline", kinesis, s3, ministack, is_only_one=True)
        )
        urls = {"KINESIS": kinesis.url, "S3": s3.url, "FIREHOSE": pipeline.firehose_url}
        urls |= dict.fromkeys(("SNS", "SQS", "IAM", "STS", "LOGS"), ministack.url)
        variables = servers.credentials() | {
            f"AWS_ENDPOINT_URL_{name}": url for name, url in urls.items()
        }
        print(
            _TEXT.format(
                exports="\n".join(f"export {name}={value}" for name, value in variables.items()),
                folder=pipeline.folder,
                orders=pipeline.orders,
                delivery=pipeline.delivery,
                alerts=pipeline.alerts,
                topics=", ".join(pipeline.topics.values()),
            ),
            flush=True,
        )
        stop.wait()
    return 0
