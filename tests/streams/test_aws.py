"""What AWS refuses is said in one line, without anything secret in it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from loopback.fixtures import S3, Kinesis, MiniStack
from oddlot.errors import ConfigError, OddlotError, StreamError
from oddlot.streams.aws import Access, client, refusal

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105  # of the documentation
KEY = "AKIAIOSFODNN7EXAMPLE"


def refused(access: Access, service: str, action: str, **arguments: Any) -> OddlotError:
    try:
        getattr(client(service, access), action)(**arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, `refusal` tells
        found = refusal("a place", error)
        assert str(found).startswith("a place: ")
        assert "\n" not in str(found)
        assert SECRET not in str(found)
        assert KEY not in str(found)
        return found
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("ProvisionedThroughputExceededException", StreamError, "try again"),
        ("LimitExceededException", StreamError, "try again"),
        ("InternalFailure", StreamError, "try again"),
        ("ExpiredTokenException", StreamError, "have expired"),
        ("AccessDeniedException", ConfigError, "may not call kinesis:PutRecords; give"),
        ("UnrecognizedClientException", ConfigError, "must be valid"),
        ("InvalidSignatureException", ConfigError, "must be valid"),
        ("ResourceNotFoundException", ConfigError, "must be there"),
        ("ValidationException", ConfigError, "AWS refuses ListStreams"),
    ],
)
def test_a_refusal_is_told_by_what_to_do_about_it(
    kinesis: Kinesis, code: str, kind: type[OddlotError], text: str
) -> None:
    said = f"User {KEY} is not authorized to perform: kinesis:PutRecords with {SECRET}\n\nsecond"
    kinesis.faults.refused["ListStreams"] = (code, said)
    found = refused(Access("us-east-1", kinesis.url), "kinesis", "list_streams")
    assert type(found) is kind
    assert text in str(found)


def test_a_clock_that_is_wrong_is_told_from_wrong_credentials(kinesis: Kinesis) -> None:
    said = "Signature expired: 20261124T100000Z is now earlier than 20261124T110000Z"
    kinesis.faults.refused["ListStreams"] = ("InvalidSignatureException", said)
    found = refused(Access("us-east-1", kinesis.url), "kinesis", "list_streams")
    assert isinstance(found, StreamError)
    assert "clock must be right" in str(found)


def test_a_server_that_is_not_there_can_heal(aws_environment: dict[str, str]) -> None:
    access = Access("us-east-1", "http://127.0.0.1:9")
    found = refused(access, "kinesis", "list_streams")
    assert isinstance(found, StreamError)
    assert "check network, region and endpoint" in str(found)


def test_a_wrong_secret_and_a_missing_bucket_at_a_server_that_checks(s3: S3) -> None:
    wrong = Access("us-east-1", s3.url, key_id="test", secret=SECRET)
    assert "must be valid" in str(refused(wrong, "s3", "list_buckets"))
    assert SECRET not in repr(wrong)
    missing = refused(Access("us-east-1", s3.url), "s3", "get_object", Bucket="no", Key="a")
    assert "must be there" in str(missing)


def test_a_role_is_taken_on_and_may_do_what_it_may(ministack: MiniStack) -> None:
    iam = ministack.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        ],
    }
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
    }
    iam.put_role_policy(RoleName="reader", PolicyName="list", PolicyDocument=json.dumps(policy))
    access = Access(
        "us-east-1", ministack.url, role=role["Arn"], external_id="shop", sts_endpoint=ministack.url
    )
    assert "ResponseMetadata" in client("sqs", access).list_queues()
    found = refused(access, "sns", "list_topics")
    assert isinstance(found, ConfigError)
    assert "may not call" in str(found)


def test_a_bug_keeps_its_own_error() -> None:
    with pytest.raises(KeyError):
        refusal("a place", KeyError("x"))


def test_without_boto3_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None; sys.modules['boto3.session'] = None\n"
        "from oddlot.streams.aws import Access, client\n"
        "try: client('s3', Access())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ConfigError boto3 is not installed: pip install oddlot[aws]\n"
