"""Where records go that no retry can help: a queue or topic, and in any case the log."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from oddlot.aws.calls import client, name_error, refusals
from oddlot.aws.journal import Journal

_MOST_BYTES = 170_000  # of data: a message takes 262,144 bytes, and base64 makes four of three


class DeadLetters:
    """Sends what no retry can help; data too long for a message stay behind.

    Args:
        target: URL of a queue or ARN of a topic; "" for the log only.
        journal: where it is logged, without the data.
    """

    def __init__(self, target: str, journal: Journal) -> None:
        self._target = target
        self._journal = journal

    def send(self, reason: str, place: Mapping[str, object], data: bytes) -> bool:
        """Send one and log it; False if it could not be sent, so that a retry can help.

        Args:
            reason: what is wrong with it; quotes nothing of it.
            place: where it is found again.
            data: it.
        """
        if self._target:
            message: dict[str, object] = {"reason": reason, **place, "bytes": len(data)}
            if len(data) <= _MOST_BYTES:
                message["data"] = base64.b64encode(data).decode()
            try:
                self._call(json.dumps(message))
            except refusals() as error:
                self._journal.say(
                    "ERROR", "dead letter not sent", problem=name_error(error), **place
                )
                return False
            self._journal.counts["DeadLettered"] += 1
        self._journal.counts["Rejected"] += 1
        self._journal.say("WARN", "rejected", reason=reason, bytes=len(data), **place)
        return True

    def _call(self, message: str) -> None:
        if self._target.startswith("arn:"):
            region = self._target.split(":")[3]
            client("sns", region).publish(TopicArn=self._target, Message=message)
        else:
            client("sqs").send_message(QueueUrl=self._target, MessageBody=message)
