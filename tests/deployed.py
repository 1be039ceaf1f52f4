"""The template of deploy/aws on MiniStack, and what its roles may do there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import tree
from loopback import servers
from loopback.fixtures import MiniStack

AWS = tree.ROOT / "deploy" / "aws"
ACCOUNT = "000000000000"
STACK = "oddlot"
CODE = "oddlot-code"
WHEEL = "oddlot-0.1.0-py3-none-any.whl"
DENIED = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"),
    *("KMS.AccessDeniedException", "403"),
}
# What MiniStack's CloudFormation does not know: the rest is deployed as it is.
UNKNOWN = {"AWS::EC2::Instance", "AWS::Athena::NamedQuery"}
# It judges calls to Logs by the group alone, where Amazon names the stream in it as well.
LOG_STREAM = re.compile(r'(:log-group:[^":]+):log-stream:[^"]+"(?=\]\]}(?:\]|,|}))')
# It asks for a right of its own for PublishBatch, for which Amazon asks for sns:Publish.
PUBLISH = ["sns:Publish", "sns:PublishBatch"]
# Where a policy has another name for a call than the API has.
NAMED_OTHERWISE = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
}

Clients = Callable[[str], Any]


def template() -> dict[str, Any]:
    """The committed template."""
    found: dict[str, Any] = json.loads((AWS / "template.json").read_text())
    return found


def function_zip(folder: Path) -> bytes:
    """The function's code, as the how-to builds it."""
    file = folder / "oddlot-lambda.zip"
    subprocess.run(
        [sys.executable, str(AWS / "lambda" / "build.py"), "--out", str(file)],
        check=True,
        capture_output=True,
    )
    return file.read_bytes()


class Deployed:
    """The stack, deployed once for all tests that ask."""

    def __init__(self, server: MiniStack, code: bytes) -> None:
        self.server = server
        self.template = template()
        self.client: Clients = server.client
        self.called: dict[str, set[str]] = defaultdict(set)  # by role, as policies name actions
        self._keys: dict[str, dict[str, str]] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self.client("s3").create_bucket(Bucket=CODE)
        for key, body in (
            ("oddlot-lambda.zip", code),
            ("oddlot-flink.zip", code),
            (WHEEL, b"wheel"),
        ):
            self.client("s3").put_object(Bucket=CODE, Key=key, Body=body)
        self.client("ssm").put_parameter(Name="/image", Value="ami-12345678", Type="String")
        self.deploy("create", Engine="host")
        stack = self.client("cloudformation").describe_stack_resources(StackName=STACK)
        self.ids: dict[str, str] = {
            one["LogicalResourceId"]: one["PhysicalResourceId"] for one in stack["StackResources"]
        }
        outputs = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs: dict[str, str] = {
            one["OutputKey"]: one["OutputValue"] for one in outputs["Outputs"]
        }

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.outputs["BucketName"]

    def id(self, start: str) -> str:
        """The physical id of the resource whose logical id begins so; a hash follows."""
        (found,) = [
            one for name, one in self.ids.items() if name.rstrip("0123456789ABCDEF") == start
        ]
        return found

    def deploy(self, verb: str, **parameters: str) -> None:
        """Create or update the stack, and wait until it is done."""
        client = self.client("cloudformation")
        body = json.loads(json.dumps(self.template))
        body["Resources"] = {
            name: one for name, one in body["Resources"].items() if one["Type"] not in UNKNOWN
        }
        text = LOG_STREAM.sub(r'\1"', json.dumps(body))
        text = text.replace('"Action": "sns:Publish"', f'"Action": {json.dumps(PUBLISH)}')
        self.client("s3").put_object(Bucket=CODE, Key="template.json", Body=text)
        network = self.client("ec2").describe_subnets()["Subnets"][0]
        values = {
            "CodeBucket": CODE,
            "WheelKey": WHEEL,
            "Network": network["VpcId"],
            "Subnet": network["SubnetId"],
            "Image": "/image",
            **parameters,
        }
        getattr(client, f"{verb}_stack")(
            StackName=STACK,
            TemplateURL=f"{self.server.url}/{CODE}/template.json",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
            ],
        )
        last = time.monotonic() + 60
        while True:
            (stack,) = client.describe_stacks(StackName=STACK)["Stacks"]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                break
            assert time.monotonic() < last, stack["StackStatus"]
            time.sleep(0.1)
        events = client.describe_stack_events(StackName=STACK)["StackEvents"]
        failed = [one for one in events if one["ResourceStatus"].endswith("FAILED")]
        assert stack["StackStatus"] == f"{verb.upper()}_COMPLETE", failed

    def role(self, name: str) -> str:
        """The name of a role on the server."""
        return str(self.ids.get(f"{name}Role", name))

    def is_trusted(self, name: str) -> bool:
        """Whether the account itself may assume a role, as the stack made it."""
        arn = f"arn:aws:iam::{ACCOUNT}:role/{self.role(name)}"
        try:
            self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
        except ClientError as error:
            assert is_denied(error), error
            return False
        return True

    def acting(self, name: str) -> Clients:
        """Return clients that act as a role.

        Its trust is widened to the account first, since only Amazon's services can say that they
        are themselves; what it may do stays as the stack made it.
        """
        if name not in self._keys:
            trust = {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "sts:AssumeRole",
                        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                    }
                ],
            }
            self.client("iam").update_assume_role_policy(
                RoleName=self.role(name), PolicyDocument=json.dumps(trust)
            )
            arn = f"arn:aws:iam::{ACCOUNT}:role/{self.role(name)}"
            given = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
            keys = given["Credentials"]
            self._keys[name] = {
                "aws_access_key_id": keys["AccessKeyId"],
                "aws_secret_access_key": keys["SecretAccessKey"],
                "aws_session_token": keys["SessionToken"],
            }
        return lambda service: self._client(name, service)

    def _client(self, name: str, service: str) -> Any:
        if (name, service) not in self._clients:
            made = boto3.client(
                service,
                endpoint_url=self.server.url,
                verify=str(self.server.certificate),
                region_name=servers.REGION,
                config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
                **self._keys[name],
            )

            def note(model: Any, params: dict[str, Any], **_: object) -> None:
                operation = f"{service}:{model.name}"
                if "versionId" in (params.get("query_string") or ()):
                    operation += "Version"
                self.called[name].add(NAMED_OTHERWISE.get(operation, operation))

            made.meta.events.register("before-call", note)
            self._clients[name, service] = made
        return self._clients[name, service]


def is_denied(error: ClientError) -> bool:
    """Whether a call failed for want of a permission, and not for something else."""
    return error.response["Error"]["Code"] in DENIED
