"""What has been published, remembered in a few small objects of S3, so that it goes out once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oddlot.aws.calls import LANES, client, find_code, refusals
from oddlot.errors import StreamError

SHARES = 16  # objects; an invocation with few alerts needs few calls, one with thousands not more
KEPT_MS = 14 * 86_400_000
MOST = 20_000  # ids in an object; the oldest go first
_TRIES = 6
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_GONE = {"NoSuchKey", "404"}


class SeenBusy(StreamError):
    """Others change the same object all the time: try again later."""


class Seen:
    """Ids of alerts, each claimed before it is published and marked when it is out.

    A claim holds until the invocation that made it is over for certain, so that nobody else
    publishes meanwhile; if it dies, the next one after that time does. Each object is replaced by
    conditional writes only.

    Args:
        bucket, folder: where the objects lie.
        owner: of the claims: the invocation's id.
        now_ms: Unix milliseconds.
        until_ms: when the invocation is over for certain.
    """

    def __init__(self, bucket: str, folder: str, owner: str, now_ms: int, until_ms: int) -> None:
        self._bucket = bucket
        self._folder = folder
        self._owner = owner
        self._now_ms = now_ms
        self._until_ms = until_ms

    def claim(self, ids: Collection[str]) -> dict[str, str]:
        """Claim ids for this invocation.

        Returns:
            By id: "mine", "done" where it is out already, "busy" where another invocation is at it.

        Raises:
            Exception: of boto3, or SeenBusy; nothing is known of some of the ids then.
        """

        def change(page: dict[str, Any], chosen: Sequence[str]) -> dict[str, str]:
            states: dict[str, str] = {}
            for name in chosen:
                claim = page["claimed"].get(name)
                if name in page["done"]:
                    states[name] = "done"
                elif claim and claim[1] != self._owner and claim[0] > self._now_ms:
                    states[name] = "busy"
                else:
                    states[name] = "mine"
                    page["claimed"][name] = [self._until_ms, self._owner]
            return states

        return self._change(ids, change)

    def mark(self, done: Collection[str], failed: Collection[str]) -> None:
        """Note what is out, and give back what is not.

        Raises:
            Exception: of boto3, or SeenBusy; what is out may go out once more then.
        """
        out = set(done)

        def change(page: dict[str, Any], chosen: Sequence[str]) -> dict[str, str]:
            for name in chosen:
                page["claimed"].pop(name, None)
                if name in out:
                    page["done"][name] = self._now_ms
            return {}

        self._change([*out, *failed], change)

    def read(self, name: str) -> dict[str, Any]:
        """Read the object of that name; empty where there is none."""
        return self._get(f"{self._folder_slash}{name}.json")[0]

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write the object of that name, whatever was there."""
        body = json.dumps(value).encode()
        client("s3").put_object(
            Bucket=self._bucket, Key=f"{self._folder_slash}{name}.json", Body=body
        )

    @property
    def _folder_slash(self) -> str:
        return f"{self._folder}/" if self._folder else ""

    def _change(self, ids: Iterable[str], change: Any) -> dict[str, str]:
        shares: dict[str, list[str]] = {}
        for name in ids:
            digest = hashlib.blake2b(name.encode(), digest_size=1).digest()
            shares.setdefault(f"{digest[0] % SHARES:x}", []).append(name)
        if len(shares) < 2:
            found = [self._change_share(share, chosen, change) for share, chosen in shares.items()]
        else:
            with ThreadPoolExecutor(LANES) as pool:
                found = list(
                    pool.map(lambda share: self._change_share(share, shares[share], change), shares)
                )
        return {name: state for states in found for name, state in states.items()}

    def _change_share(self, share: str, chosen: Sequence[str], change: Any) -> dict[str, str]:
        key = f"{self._folder_slash}ids-{share}.json"
        for _ in range(_TRIES):
            page, tag = self._get(key)
            page = {"done": page.get("done", {}), "claimed": page.get("claimed", {})}
            before = json.dumps(page)
            states: dict[str, str] = change(page, chosen)
            self._prune(page)
            body = json.dumps(page)
            if body == before or self._put(key, body.encode(), tag):
                return states
        raise SeenBusy(f"{key}: others change it all the time; try again")

    def _prune(self, page: dict[str, Any]) -> None:
        """Forget what is old, and claims that ran out long ago; in the order they were made."""
        oldest = self._now_ms - KEPT_MS
        for name in [name for name, at in page["done"].items() if at < oldest]:
            del page["done"][name]
        for name in list(page["done"])[: max(0, len(page["done"]) - MOST)]:
            del page["done"][name]
        for name in [name for name, claim in page["claimed"].items() if claim[0] < oldest]:
            del page["claimed"][name]

    def _get(self, key: str) -> tuple[dict[str, Any], str]:
        try:
            answer = client("s3").get_object(Bucket=self._bucket, Key=key)
        except refusals() as error:
            if find_code(error) in _GONE:
                return {}, ""
            raise
        found = json.loads(answer["Body"].read())
        return found, answer["ETag"]

    def _put(self, key: str, body: bytes, tag: str) -> bool:
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        try:
            client("s3").put_object(Bucket=self._bucket, Key=key, Body=body, **condition)
        except refusals() as error:
            if find_code(error) in _LOST | _GONE:
                return False
            raise
        return True
