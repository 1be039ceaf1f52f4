"""What the notifiers for AWS share: their options, and requests that fail in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from oddlot.errors import ConfigError
from oddlot.notifiers.contract import Message, Notifier, Reply, encode_row, plain
from oddlot.streams.aws import Access, client, refusal

# One place tries again, and keeps the time: the delivery loop.
ONCE = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 20}
MOST_BYTES = 4 << 20  # of a request; Kinesis takes 5 MiB, Firehose 4 MiB

Format = Annotated[
    Literal["json", "csv"],
    Meta(description="Of a record: a JSON object, or CSV without a line of names."),
]


class AwsNotifier(Notifier, frozen=True):
    """The options that every notifier for AWS has beside its own."""

    region: Annotated[str, Meta(description="Such as eu-west-1; as in AWS's own settings.")] = ""
    endpoint: Annotated[str, Meta(description="Another URL than AWS's own.")] = ""
    profile: Annotated[str, Meta(description="Of AWS's own settings; its default if empty.")] = ""
    role: Annotated[str, Meta(description="ARN of a role to assume; none if empty.")] = ""
    external_id: Annotated[str, Meta(description="What that role asks for.")] = ""

    @property
    def access(self) -> Access:
        """How to reach AWS."""
        return Access(
            region=self.region,
            endpoint=self.endpoint,
            profile=self.profile,
            role=self.role,
            external_id=self.external_id,
        )


class Caller:
    """Calls one AWS service; the client is made at the first call, so that it can heal.

    Args:
        service: boto3's name of it.
        place: what an error names, such as "kinesis stream alerts".
        access: how to reach it.
    """

    def __init__(self, service: str, place: str, access: Access) -> None:
        self.place = place
        self._service = service
        self._access = access
        self._client: Any = None

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation by its name in Python, such as "put_records".

        Raises:
            StreamError, ConfigError: as `refusal` in streams/aws.py tells them apart.
        """
        try:
            if self._client is None:
                self._client = client(self._service, self._access, **ONCE)
            answer: dict[str, Any] = getattr(self._client, operation)(**request)
        except Exception as error:
            refused = refusal(self.place, error)
            if isinstance(refused, ConfigError) or "credentials" in str(refused):
                self._forget()  # somebody may put it right
            raise refused from error
        return answer

    def close(self) -> None:
        """Let go of connections."""
        self._forget()

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def encode_all(message: Message, form: Literal["json", "csv"]) -> list[bytes]:
    """Return each alert as one record."""
    return [encode_row(row, form) for row in message.rows]


def cut(sizes: Sequence[int], most: int, most_bytes: int) -> list[range]:
    """Cut records into requests that are small enough, in order.

    Args:
        sizes: bytes of each record.
        most: records in a request.
        most_bytes: bytes in a request; a record that is larger goes alone.
    """
    requests: list[range] = []
    begin, total = 0, 0
    for index, size in enumerate(sizes):
        if index > begin and (index - begin >= most or total + size > most_bytes):
            requests.append(range(begin, index))
            begin, total = index, 0
        total += size
    if begin < len(sizes):
        requests.append(range(begin, len(sizes)))
    return requests


def read_entry(place: str, entry: Mapping[str, Any], code: str, text: str) -> Reply:
    """Return the reply for one entry of an answer that may fail in part.

    Args:
        place: what the error names.
        entry: of the answer.
        code, text: names of its fields for what went wrong.
    """
    if not entry.get(code):
        return Reply()
    # Kinesis names the account, the stream and the shard in its text: the code says enough.
    return Reply(f"{place}: {plain(str(entry[code]), 80)}")
