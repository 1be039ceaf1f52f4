"""Calls of AWS: their clients, made once a process, and the names of their refusals."""

from __future__ import annotations

import functools
from typing import Any

from oddlot.errors import StreamError

LANES = 8  # calls at a time


@functools.cache
def client(service: str, region: str = "") -> Any:
    """Return boto3's client of a service; in the region of the function where none is given."""
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=5,
        read_timeout=15,
        max_pool_connections=LANES,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    return boto3.client(service, region_name=region or None, config=settings)


def refusals() -> tuple[type[Exception], ...]:
    """Return what is raised where a call is refused or gets no answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, StreamError


def name_error(error: Exception) -> str:
    """Say what an error of a call is without its text, which may quote what was signed or sent."""
    if isinstance(error, StreamError):
        return str(error)
    code = find_code(error)
    return f"{getattr(error, 'operation_name', 'call')}: {code}" if code else type(error).__name__


def find_code(error: Exception) -> str:
    """Return the code of a refusal, such as NoSuchKey; "" where there is no answer."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", ""))[:100] if isinstance(answer, dict) else ""
