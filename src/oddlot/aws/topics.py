"""Publishing to SNS: ten alerts a call, several calls at a time, each entry's own result."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote

from oddlot.aws.alerts import Alert
from oddlot.aws.calls import LANES, refusals
from oddlot.aws.settings import Topic

_MOST = 10  # entries of a call
_MOST_BYTES = 240_000  # of a call, as SNS counts; it takes 262,144
_TRIES = 4
_PAUSE_S = 0.2
_SUBJECT = 99
# What passes if one waits a little.
_PASSING = {
    *("Throttling", "ThrottledException", "ThrottlingException", "RequestThrottled"),
    *("InternalError", "InternalFailure", "ServiceUnavailable", "KMSThrottling"),
    "KMSThrottlingException",
}
# The call itself is wrong, not the permission or the topic: one of its entries may be why.
_OUR_FAULT = {
    *("InvalidParameter", "InvalidParameterValue", "ValidationError", "ValidationException"),
    *("BatchRequestTooLong", "BatchEntryIdsNotDistinct", "InvalidBatchEntryId"),
    "ParameterValueInvalid",
}

_SAFE = re.compile(r"[A-Za-z0-9_.~-]*")
# The percent sign first: the others' codes begin with one.
_CODES = [(one, f"%{ord(one):02X}") for one in "% !\"#$&'()*+,/:;<=>?@[\\]^`{|}"]


class Outcome(NamedTuple):
    """What became of an alert.

    Attributes:
        is_done: it is out, or no retry can help.
        problem: why it is not out; "" where it is.
    """

    is_done: bool
    problem: str = ""


SENT = Outcome(is_done=True)


class Caller:
    """Calls SNS with botocore's own signer and connections.

    Not by a client's method: that takes most of the time of the function, ten times what signing
    and sending take, to check and write what is known here.

    Args:
        region: of the topics.
    """

    def __init__(self, region: str) -> None:
        from botocore.httpsession import URLLib3Session
        from botocore.session import Session
        from botocore.utils import get_environ_proxies

        session = Session()
        client = session.create_client("sns", region)  # knows each region's and partition's
        self._region = region
        self._url = client.meta.endpoint_url.rstrip("/") + "/"
        self._credentials = session.get_credentials()
        authorities = session.get_config_variable("ca_bundle")
        self._http = URLLib3Session(
            verify=authorities or os.environ.get("REQUESTS_CA_BUNDLE") or True,
            proxies=get_environ_proxies(self._url),
            timeout=(5, 15),
            max_pool_connections=LANES,
        )

    def call(self, body: bytes) -> tuple[int, bytes]:
        """Send a form; return the answer's status and text.

        Raises:
            Exception: botocore's, where there is no answer or there are no credentials.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError

        if self._credentials is None:
            raise NoCredentialsError
        request = AWSRequest(
            "POST",
            self._url,
            data=body,
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        )
        signer = SigV4Auth(self._credentials.get_frozen_credentials(), "sns", self._region)
        signer.add_auth(request)
        answer = self._http.send(request.prepare())
        return answer.status_code, answer.content


class Publisher:
    """Publishes each alert to the topic of its severity.

    Args:
        topics: the highest first.
        sleep_s: waits before a call is tried again.
    """

    def __init__(
        self, topics: Sequence[Topic], *, sleep_s: Callable[[float], object] = time.sleep
    ) -> None:
        self._topics = topics
        self._sleep_s = sleep_s

    def publish(self, alerts: Sequence[Alert]) -> list[Outcome]:
        """Publish alerts; return what became of each, in the same order."""
        outcomes: list[Outcome] = [SENT] * len(alerts)
        calls: list[tuple[Topic, list[tuple[int, str]]]] = []
        for topic in self._topics:
            chosen = [i for i, alert in enumerate(alerts) if self._choose(alert) is topic]
            size, call = 0, list[tuple[int, str]]()
            for index in chosen:
                form, counted = _encode(alerts[index], topic)
                if call and (len(call) == _MOST or size + counted > _MOST_BYTES):
                    calls.append((topic, call))
                    size, call = 0, []
                call.append((index, form))
                size += counted
            if call:
                calls.append((topic, call))
        if len(calls) == 1:
            results = [self._send(*calls[0])]
        else:
            with ThreadPoolExecutor(LANES) as pool:
                results = list(pool.map(lambda call: self._send(*call), calls))
        for result in results:
            for index, outcome in result:
                outcomes[index] = outcome
        return outcomes

    def _choose(self, alert: Alert) -> Topic:
        for topic in self._topics:
            if alert.severity >= topic.least:
                return topic
        return self._topics[-1]

    def _send(self, topic: Topic, call: list[tuple[int, str]]) -> list[tuple[int, Outcome]]:
        """Publish the entries of one call; those that can pass are tried again."""
        done: list[tuple[int, Outcome]] = []
        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                self._sleep_s(random.uniform(0, _PAUSE_S * 2**attempt))  # noqa: S311 - no secret
            try:
                status, answer = _caller(topic.arn.split(":")[3]).call(_form(topic.arn, call))
            except refusals() as error:
                problem = type(error).__name__
                continue
            if status == 200:
                passing, problem = _read_answer(answer, call, done)
                call = [entry for entry in call if entry[0] in passing]
                if not call:
                    return done
                continue
            problem = _find(answer.decode(errors="replace"), "Code") or f"status {status}"
            if status < 500 and problem in _OUR_FAULT:
                if len(call) == 1:
                    return [*done, (call[0][0], Outcome(is_done=True, problem=problem))]
                for entry in call:
                    done += self._send(topic, [entry])
                return done
            if status < 500 and problem not in _PASSING:
                break
        return done + [(index, Outcome(is_done=False, problem=problem)) for index, _ in call]


@functools.cache
def _caller(region: str) -> Caller:
    return Caller(region)


def _read_answer(
    answer: bytes, call: list[tuple[int, str]], done: list[tuple[int, Outcome]]
) -> tuple[set[int], str]:
    """Add to `done` what is settled; return the indices of the others, and why."""
    passing = {index for index, _ in call}
    problem = "the answer names no result"
    for member in answer.decode(errors="replace").split("<member>")[1:]:
        index = int(_find(member, "Id"))
        if "<MessageId>" in member:
            passing.discard(index)
            done.append((index, SENT))
            continue
        code = _find(member, "Code") or "refused"
        if _find(member, "SenderFault") == "true" and code not in _PASSING:
            passing.discard(index)
            done.append((index, Outcome(is_done=True, problem=code)))
        else:
            problem = code
    return passing, problem


def _find(text: str, tag: str) -> str:
    """Return what stands in the first such tag."""
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0][:100]


def _form(arn: str, call: list[tuple[int, str]]) -> bytes:
    parts = [f"Action=PublishBatch&Version=2010-03-31&TopicArn={quote(arn, safe='')}"]
    for place, (index, form) in enumerate(call, 1):
        at = f"&PublishBatchRequestEntries.member.{place}."
        parts.append(f"{at}Id={index}{form.replace('&', at)}")
    return "".join(parts).encode()


def _encode(alert: Alert, topic: Topic) -> tuple[str, int]:
    """Return an entry as a piece of a form, and how many bytes SNS counts for it.

    People get the sentence, programs all of the alert as JSON.
    """
    row = alert.row
    sentence = plain(row.get("text") or f"{row.get('type', 'alert')} {row.get('sku', '')}", 4000)
    everything = json.dumps({**row, "level": topic.level}, separators=(",", ":"))
    message = json.dumps(
        {"default": everything, "email": _letter(sentence, row, topic), "sms": sentence[:140]}
    )
    attributes = {
        "level": topic.level,
        "type": plain(row.get("type") or "-", 100),
        "sku": plain(row.get("sku") or "-", 100),
        "id": plain(alert.id, 200),
    }
    fields = [
        ("Subject", _subject(topic.level, sentence)),
        ("MessageStructure", "json"),
        ("Message", message),
    ]
    for number, (name, value) in enumerate(attributes.items(), 1):
        at = f"MessageAttributes.entry.{number}"
        fields += [(f"{at}.Name", name), (f"{at}.Value.DataType", "String")]
        fields.append((f"{at}.Value.StringValue", value))
    at = f"MessageAttributes.entry.{len(attributes) + 1}"
    fields += [(f"{at}.Name", "severity"), (f"{at}.Value.DataType", "Number")]
    fields.append((f"{at}.Value.StringValue", f"{min(alert.severity, 1e15):.2f}"))
    if topic.arn.endswith(".fifo"):
        group = "".join(c if c.isascii() and c.isalnum() else "-" for c in attributes["sku"])
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in alert.id)
        fields += [("MessageGroupId", group), ("MessageDeduplicationId", name[:128])]
    form = "".join(f"&{name}={quote_all(value)}" for name, value in fields)
    return form, sum(len(value.encode()) for _, value in fields)


def _letter(sentence: str, row: dict[str, Any], topic: Topic) -> str:
    shown = ("time", "sku", "description", "invoice", "quantity", "price", "severity", "id")
    lines = [f"{name}: {plain(str(row[name]), 300)}" for name in shown if row.get(name) is not None]
    return "\n".join((sentence, "", f"level: {topic.level}", *lines, ""))


def _subject(level: str, sentence: str) -> str:
    """Return a subject as SNS takes it: ASCII, one line, short."""
    text = f"Oddlot {plain(level, 20)}: {sentence}".encode("ascii", "ignore").decode()
    return text[:_SUBJECT].rstrip()


def quote_all(text: str) -> str:
    """Return a value as a form holds it: as `urllib.parse.quote`, ten times faster on JSON."""
    if _SAFE.fullmatch(text):
        return text
    if not (text.isascii() and text.isprintable()):
        return quote(text, safe="")
    for character, code in _CODES:
        text = text.replace(character, code)
    return text


def plain(text: str, longest: int) -> str:
    """Return one line of characters that any receiver takes."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text[: 2 * longest].split())[:longest] or "-"
