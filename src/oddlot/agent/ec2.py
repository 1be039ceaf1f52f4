"""What a machine at EC2 knows of itself, asked of its metadata service (IMDSv2)."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

_SERVICE = "http://169.254.169.254"  # the same address in every EC2 machine
_TIMEOUT = 2  # seconds
_PAUSE = 60
_FIELDS = {
    "privateIp": "privateIp",
    "availabilityZone": "availabilityZone",
    "instanceId": "instanceId",
    "instanceType": "instanceType",
    "accountId": "accountId",
    "amiId": "imageId",
    "region": "region",
}


class Machine:
    """Answers from memory, and asks again after a while."""

    def __init__(
        self,
        minutes: int,
        clock: Callable[[], float],
        service: str | None = None,
    ) -> None:
        self._minutes = minutes
        self._clock = clock
        self._service = (
            service or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _SERVICE
        ).rstrip("/")
        self._until = float("-inf")
        self._known: dict[str, str] = {}

    def describe(self) -> dict[str, str]:
        """Return instanceId, region and so on, and the instance's tags if they may be read.

        What was known holds on where the service does not answer, and nothing is known where it
        never did, as on a machine that is not at EC2; it is asked again after a minute.
        """
        now = self._clock()
        if now >= self._until:
            try:
                self._known = self._ask(now)
                self._until = now + 60 * self._minutes
            except (OSError, ValueError, http.client.HTTPException):
                self._until = now + _PAUSE
        return self._known

    def _ask(self, now: float) -> dict[str, str]:
        token = self._request(
            "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        headers = {"X-aws-ec2-metadata-token": token}
        identity = json.loads(self._request("dynamic/instance-identity/document", headers=headers))
        known = {name: identity[key] for name, key in _FIELDS.items() if identity.get(key)}
        asked = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        known["metadataTimestamp"] = asked.replace("+00:00", "Z")
        try:
            tags = self._request("meta-data/tags/instance", headers=headers).split()
            for tag in tags:
                known[tag] = self._request(f"meta-data/tags/instance/{tag}", headers=headers)
        except urllib.error.HTTPError as error:  # tags are shown only if the instance allows it
            error.close()
        return known

    def _request(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> str:
        request = urllib.request.Request(  # noqa: S310 - the address is http
            f"{self._service}/latest/{path}", method=method, headers=headers or {}
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - see above
            return str(answer.read().decode())
