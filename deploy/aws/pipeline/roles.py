"""One role for each component, allowed the calls that it makes and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam

from pipeline import names
from pipeline.exceptions import accept_resource

READ_STREAM = (
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
)


def allow(
    actions: tuple[str, ...], *resources: str, condition: Mapping[str, Any] | None = None
) -> iam.PolicyStatement:
    """Return a statement that allows the actions on the resources."""
    return iam.PolicyStatement(
        actions=list(actions),
        resources=list(resources),
        conditions=None if condition is None else dict(condition),
    )


class Roles:
    """The roles; each is made whole here, and nothing may add to it later.

    Args:
        stack: what they belong to.
        code_bucket: where the code of the hosts and of Flink lies.
        wheel, flink_zip: keys in it.
        topics_key: ARN of the key that encrypts the topics.
        topics: their ARNs.
        failures: ARN of the queue of what the function could not do.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        code_bucket: str,
        wheel: str,
        flink_zip: str,
        topics_key: str,
        topics: list[str],
        failures: str,
    ) -> None:
        self._stack = stack
        wheel_arn = names.bucket_arn(code_bucket, wheel)
        self.generator = self._role(
            "Generator",
            iam.ServicePrincipal("ec2.amazonaws.com"),
            allow(("kinesis:PutRecords",), names.stream_arn(names.ORDERS)),
            *_host("/oddlot/generator", wheel_arn),
        )
        self.engine = self._role(
            "Engine",
            iam.ServicePrincipal("ec2.amazonaws.com"),
            allow(READ_STREAM, names.stream_arn(names.ORDERS)),
            allow(("kinesis:PutRecords",), names.stream_arn(names.ALERTS)),
            # No GetObject: whether an object is there, and how large, is in the listing.
            allow(("s3:PutObject",), names.bucket_arn(names.BUCKET, f"{names.ARCHIVE}/*")),
            _list(names.ARCHIVE),
            *_host("/oddlot/engine", wheel_arn),
        )
        self.function = self._role(
            "Function",
            iam.ServicePrincipal("lambda.amazonaws.com"),
            # DescribeStream because the event source mapping of Lambda itself calls it.
            allow((*READ_STREAM, "kinesis:DescribeStream"), names.stream_arn(names.ALERTS)),
            allow(("kinesis:PutRecords",), names.stream_arn(names.ORDERS)),
            allow(("s3:GetObject",), names.bucket_arn(names.BUCKET, f"{names.INBOX}/*")),
            allow(
                ("s3:GetObject", "s3:PutObject"), names.bucket_arn(names.BUCKET, f"{names.SEEN}/*")
            ),
            # Without it S3 answers 403, not 404, for an id that has not been seen.
            _list(names.SEEN),
            allow(("sns:Publish",), *topics),
            allow(("kms:Decrypt", "kms:GenerateDataKey"), topics_key),
            allow(("sqs:SendMessage",), failures),
            allow(
                ("logs:CreateLogStream", "logs:PutLogEvents"),
                names.log_arn(f"/aws/lambda/{names.FUNCTION}", "*"),
            ),
        )
        self.delivery = {
            table: self._role(
                f"{table.title()}Delivery",
                iam.ServicePrincipal(
                    "firehose.amazonaws.com",
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                ),
                # DescribeStream because it is what Firehose calls.
                allow((*READ_STREAM, "kinesis:DescribeStream"), names.stream_arn(stream)),
                allow(
                    ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"),
                    names.bucket_arn(names.BUCKET, f"{names.LANDED}/{table}/*"),
                    names.bucket_arn(names.BUCKET, f"{names.FAILED}/{table}/*"),
                ),
                allow(
                    ("s3:GetBucketLocation", "s3:ListBucketMultipartUploads"),
                    names.bucket_arn(names.BUCKET),
                ),
                _list(f"{names.LANDED}/{table}", f"{names.FAILED}/{table}"),
                allow(
                    ("glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"),
                    names.arn("glue", "catalog"),
                    names.arn("glue", f"database/{names.DATABASE}"),
                    names.arn("glue", f"table/{names.DATABASE}/{table}_{names.LANDED}"),
                ),
                allow(("logs:PutLogEvents",), names.log_arn(f"/oddlot/{table}-delivery", "s3")),
            )
            for table, stream in (("orders", names.ORDERS), ("alerts", names.ALERTS))
        }
        self.analyst = self._role(
            "Analyst",
            # Whom the account's administrator lets assume it.
            iam.AccountPrincipal(Aws.ACCOUNT_ID),
            allow(
                (
                    "athena:BatchGetNamedQuery",
                    "athena:GetNamedQuery",
                    "athena:GetQueryExecution",
                    "athena:GetQueryResults",
                    "athena:GetWorkGroup",
                    "athena:ListNamedQueries",
                    "athena:StartQueryExecution",
                    "athena:StopQueryExecution",
                ),
                names.arn("athena", f"workgroup/{names.WORKGROUP}"),
            ),
            allow(
                (
                    "glue:GetDatabase",
                    "glue:GetPartition",
                    "glue:GetPartitions",
                    "glue:GetTable",
                    "glue:GetTables",
                ),
                names.arn("glue", "catalog"),
                names.arn("glue", f"database/{names.DATABASE}"),
                *(
                    names.arn("glue", f"table/{names.DATABASE}/{table}")
                    for table in ("orders", "alerts", "orders_landed", "alerts_landed")
                ),
            ),
            allow(
                ("s3:GetObject",),
                names.bucket_arn(names.BUCKET, f"{names.ARCHIVE}/*"),
                names.bucket_arn(names.BUCKET, f"{names.LANDED}/*"),
            ),
            allow(
                ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"),
                names.bucket_arn(names.BUCKET, f"{names.RESULTS}/*"),
            ),
            allow(("s3:GetBucketLocation",), names.bucket_arn(names.BUCKET)),
            _list(names.ARCHIVE, names.LANDED, names.RESULTS),
        )
        self.flink = self._role(
            "Flink",
            iam.ServicePrincipal(
                "kinesisanalytics.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            ),
            # DescribeStream because the connector of Flink calls it.
            allow((*READ_STREAM, "kinesis:DescribeStream"), names.stream_arn(names.ORDERS)),
            allow(("kinesis:PutRecords",), names.stream_arn(names.ALERTS)),
            allow(
                ("s3:GetObject", "s3:GetObjectVersion"), names.bucket_arn(code_bucket, flink_zip)
            ),
            allow(("logs:PutLogEvents",), names.log_arn("/oddlot/flink", "application")),
        )

    def _role(self, name: str, who: iam.IPrincipal, *statements: iam.PolicyStatement) -> iam.Role:
        role = iam.Role(
            self._stack,
            f"{name}Role",
            assumed_by=who,
            inline_policies={"calls": iam.PolicyDocument(statements=list(statements))},
        )
        plain = role.node.default_child
        assert isinstance(plain, iam.CfnRole)  # noqa: S101 - what a Role is made of
        plain.override_logical_id(f"{name}Role")
        for statement in statements:
            for resource in statement.resources:
                if resource.startswith(names.bucket_arn(names.BUCKET)) and resource.endswith("/*"):
                    reason = "Objects of one folder of one bucket; IAM has no other way to say so."
                    accept_resource(role, resource, reason)
                if resource == names.log_arn(f"/aws/lambda/{names.FUNCTION}", "*"):
                    reason = "Lambda makes up the names of the streams in the function's log group."
                    accept_resource(role, resource, reason)
        return role


def _host(group: str, wheel: str) -> tuple[iam.PolicyStatement, ...]:
    """Return what both hosts need: their program, and a place for their log."""
    return (
        allow(("s3:GetObject",), wheel),
        allow(
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            names.log_arn(group, "metrics"),
            names.log_arn(group, "log"),
        ),
    )


def _list(*folders: str) -> iam.PolicyStatement:
    """Return the right to list folders of the bucket, and no other."""
    prefixes = [f"{folder}/*" for folder in folders]
    return allow(
        ("s3:ListBucket",),
        names.bucket_arn(names.BUCKET),
        condition={"StringLike": {"s3:prefix": prefixes}},
    )
