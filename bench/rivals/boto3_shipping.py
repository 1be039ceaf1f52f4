"""The rival that everybody writes first: read lines, PutRecords of 500, send again what failed.

Args: endpoint, stream, file, and how many lines go into one record (1: as most write it).
"""

from __future__ import annotations

import sys
import uuid
from itertools import islice

import boto3

_RECORDS = 500


def main() -> None:
    """Ship the file."""
    endpoint, stream, file, packed = sys.argv[1:]
    client = boto3.client("kinesis", endpoint_url=endpoint)
    with open(file, "rb") as lines:
        next(lines)
        while batch := list(islice(lines, _RECORDS * int(packed))):
            size = int(packed)
            records = [
                {
                    "Data": b"".join(batch[start : start + size]),
                    "PartitionKey": str(uuid.uuid4()),
                }
                for start in range(0, len(batch), size)
            ]
            while records:
                answer = client.put_records(StreamName=stream, Records=records)
                results = zip(records, answer["Records"], strict=True)
                records = [record for record, result in results if "ErrorCode" in result]


if __name__ == "__main__":
    main()
