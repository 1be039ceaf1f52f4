"""Copies the files of an engine's archive to S3, only those that a checkpoint knows."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oddlot import config as configs
from oddlot.errors import ConfigError, OddlotError
from oddlot.stored import Stored

PARTS = ("orders", "alerts")


def copy(client: Any, config: configs.Config, bucket: str, folder: str) -> list[str]:
    """Copy what is not there yet or was written anew since.

    A file that no checkpoint knows may go to quarantine/ at the next start, and its rows be written
    anew under another name: in S3 they would be there twice. Names get a prefix of their own for
    each archive folder, so that an engine that begins anew on an empty disk overwrites nothing.

    Args:
        client: of S3, as boto3 makes it.
        config: the engine's.
        bucket, folder: where to; the folder ends with "/".

    Returns:
        The keys that were written.
    """
    if config.archive.path is None:
        raise ConfigError(f"{config.place}: [archive] path must be a folder; there is none")
    archive = Path(config.archive.path)
    with Stored.read(Path(config.state.path)) as stored:
        saved = stored.load()
    last = json.loads(saved.meta)["extra"]["archive"] if saved else ""
    files = [
        path
        for part in PARTS
        for path in sorted(archive.glob(f"{part}/date=*/*.parquet"))
        if path.stem <= last
    ]
    prefix = _own_prefix(archive) if files else ""
    there = {key: one for part in PARTS for key, one in _list(client, bucket, f"{folder}{part}/")}
    written = []
    for path in files:
        place = path.relative_to(archive)
        key = f"{folder}{place.parent.as_posix()}/{prefix}-{place.name}"
        facts = path.stat()
        known = there.get(key)
        if known and known[0] == facts.st_size and known[1] >= _time(facts.st_mtime):
            continue
        with path.open("rb") as body:
            client.put_object(Bucket=bucket, Key=key, Body=body)
        written.append(key)
    return written


def _own_prefix(archive: Path) -> str:
    """Return 12 hex digits that this archive folder keeps."""
    path = archive / "copied-as"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        prefix = uuid.uuid4().hex[:12]
        path.write_text(prefix + "\n")
        return prefix


def _list(client: Any, bucket: str, prefix: str) -> list[tuple[str, tuple[int, datetime]]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [
        (one["Key"], (one["Size"], one["LastModified"]))
        for page in pages
        for one in page.get("Contents", ())
    ]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def main() -> int:
    """Copy what the command line says: a config, and s3://bucket/folder/."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    config, url = sys.argv[1:]
    place = urlsplit(url)
    try:
        written = copy(
            boto3.client("s3"), configs.load(config), place.netloc, place.path.lstrip("/")
        )
    except (OddlotError, BotoCoreError, ClientError) as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{len(written)} files copied to {url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
