"""The Lambda function, what starts it, where it tells people, and where its failures go."""

from __future__ import annotations

import json

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from pipeline import names
from pipeline.exceptions import accept

# What an administrator of the account may do with the key; the usual kms:* of the root, spelt out.
ADMINISTER = (
    *("kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt"),
    *("kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey", "kms:DisableKeyRotation"),
    *("kms:EnableKey", "kms:EnableKeyRotation", "kms:GenerateDataKey", "kms:GetKeyPolicy"),
    *("kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListKeyPolicies"),
    *("kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:ScheduleKeyDeletion"),
    *("kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription"),
)


def add_topics(stack: Stack) -> tuple[kms.Key, dict[str, sns.Topic]]:
    """Add a topic for each severity and one for the alarms, with the key that encrypts them.

    A key of our own, because a CloudWatch alarm cannot publish to a topic that is encrypted
    with the one that AWS manages. In a key's policy the resource "*" is the key itself.
    """
    key = kms.Key(
        stack,
        "TopicsKey",
        alias="alias/oddlot-topics",
        description="Encrypts Oddlot's SNS topics",
        enable_key_rotation=True,
        removal_policy=RemovalPolicy.DESTROY,
        policy=iam.PolicyDocument(
            statements=[
                iam.PolicyStatement(
                    actions=list(ADMINISTER),
                    resources=["*"],
                    principals=[iam.AccountRootPrincipal()],
                ),
                iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=["*"],
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                ),
            ]
        ),
    )
    topics = {
        name: sns.Topic(
            stack,
            f"{name.title()}Topic",
            topic_name=f"oddlot-{name}",
            display_name=f"Oddlot {name}",
            master_key=key,
            enforce_ssl=True,
        )
        for name in (*names.SEVERITIES, "operations")
    }
    topics["operations"].add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sns:Publish"],
            resources=[topics["operations"].topic_arn],
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return key, topics


def add_failures(stack: Stack) -> sqs.Queue:
    """Add the queue that hears of each batch that the function could not do."""
    queue = sqs.Queue(
        stack,
        "Failures",
        queue_name=f"{names.FUNCTION}-failures",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(14),
    )
    accept(queue, "SQS3", "It is itself where failures go, and has an alarm.")
    return queue


def add_function(
    stack: Stack,
    *,
    role: iam.Role,
    code_bucket: str,
    code_key: str,
    topics: dict[str, sns.Topic],
    failures: sqs.Queue,
) -> tuple[lambda_.CfnFunction, logs.LogGroup]:
    """Add the function and its log group."""
    group = logs.LogGroup(
        stack,
        "FunctionLog",
        log_group_name=f"/aws/lambda/{names.FUNCTION}",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    function = lambda_.CfnFunction(
        stack,
        "Function",
        function_name=names.FUNCTION,
        description="Publishes Oddlot's alerts by severity",
        runtime="python3.14",
        architectures=["arm64"],
        handler=names.HANDLER,
        role=role.role_arn,
        code=lambda_.CfnFunction.CodeProperty(s3_bucket=code_bucket, s3_key=code_key),
        memory_size=256,
        timeout=60,
        environment=lambda_.CfnFunction.EnvironmentProperty(
            variables={
                "ODDLOT_TOPICS": stack.to_json_string(
                    {name: topics[name].topic_arn for name in names.SEVERITIES}
                ),
                "ODDLOT_SEVERITIES": json.dumps(names.SEVERITIES),
                "ODDLOT_ORDERS_STREAM": names.ORDERS,
                "ODDLOT_DEAD_LETTERS": failures.queue_url,
                "ODDLOT_SEEN": f"s3://{names.BUCKET}/{names.SEEN}/",
                "ODDLOT_METRICS_NAMESPACE": names.NAMESPACE,
            }
        ),
        logging_config=lambda_.CfnFunction.LoggingConfigProperty(
            log_format="JSON", log_group=group.log_group_name
        ),
    )
    # An S3 event comes without a stream to hold it back: what failed thrice goes to the queue.
    asynchronous = lambda_.CfnEventInvokeConfig(
        stack,
        "FunctionFromBucket",
        function_name=function.ref,
        qualifier="$LATEST",
        maximum_retry_attempts=2,
        maximum_event_age_in_seconds=6 * 3600,
        destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
            on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(
                destination=failures.queue_arn
            )
        ),
    )
    asynchronous.node.add_dependency(role)
    return function, group


def add_stream_trigger(
    stack: Stack, function: lambda_.CfnFunction, alerts: kinesis.Stream, failures: sqs.Queue
) -> lambda_.CfnEventSourceMapping:
    """Let the stream of alerts call the function.

    Lambda's own defaults retry one bad record for a week while its shard stands still: here a
    batch is cut in half until the bad record is alone, tried five times, and told to the queue.
    """
    owner = lambda_.CfnEventSourceMapping
    return owner(
        stack,
        "FunctionFromStream",
        event_source_arn=alerts.stream_arn,
        function_name=function.ref,
        starting_position="TRIM_HORIZON",
        batch_size=500,
        maximum_batching_window_in_seconds=5,
        parallelization_factor=1,  # alerts of one shard stay in order
        bisect_batch_on_function_error=True,
        maximum_retry_attempts=5,
        maximum_record_age_in_seconds=6 * 3600,
        function_response_types=["ReportBatchItemFailures"],
        destination_config=owner.DestinationConfigProperty(
            on_failure=owner.OnFailureProperty(destination=failures.queue_arn)
        ),
    )
