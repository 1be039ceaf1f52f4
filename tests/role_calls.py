"""Calls of every kind that one of the stack's roles may or may not make."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from deployed import ACCOUNT, CODE, WHEEL, Clients, Deployed

Call = Callable[[Clients, Deployed], Any]


def shard(name: str) -> dict[str, str]:
    return {"StreamName": name, "ShardId": "shardId-000000000000"}


def get_records(clients: Clients, deployed: Deployed, stream: str) -> Any:
    # The iterator is root's: this call alone is what is asked.
    found = deployed.client("kinesis").get_shard_iterator(
        **shard(stream), ShardIteratorType="TRIM_HORIZON"
    )
    return clients("kinesis").get_records(
        ShardIterator=found["ShardIterator"],
        StreamARN=f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{stream}",
    )


def stream_calls(stream: str) -> dict[str, Call]:
    def call(act: Callable[[Any], Any]) -> Call:
        return lambda clients, _: act(clients("kinesis"))

    record = {"Data": b"{}", "PartitionKey": "a"}
    return {
        f"{stream} PutRecords": call(
            lambda one: one.put_records(StreamName=stream, Records=[record])
        ),
        f"{stream} ListShards": call(lambda one: one.list_shards(StreamName=stream)),
        f"{stream} DescribeStreamSummary": call(
            lambda one: one.describe_stream_summary(StreamName=stream)
        ),
        f"{stream} DescribeStream": call(lambda one: one.describe_stream(StreamName=stream)),
        f"{stream} GetShardIterator": call(
            lambda one: one.get_shard_iterator(**shard(stream), ShardIteratorType="LATEST")
        ),
        f"{stream} GetRecords": lambda clients, deployed: get_records(clients, deployed, stream),
        f"{stream} MergeShards": call(
            lambda one: one.merge_shards(
                StreamName=stream,
                ShardToMerge="shardId-000000000000",
                AdjacentShardToMerge="shardId-000000000009",
            )
        ),
    }


def folder_calls(folder: str) -> dict[str, Call]:
    def put(clients: Clients, deployed: Deployed) -> Any:
        return clients("s3").put_object(Bucket=deployed.bucket, Key=f"{folder}/probe", Body=b"{}")

    def get(clients: Clients, deployed: Deployed) -> Any:
        deployed.client("s3").put_object(Bucket=deployed.bucket, Key=f"{folder}/probe", Body=b"{}")
        return clients("s3").get_object(Bucket=deployed.bucket, Key=f"{folder}/probe")

    def listed(clients: Clients, deployed: Deployed) -> Any:
        return clients("s3").list_objects_v2(Bucket=deployed.bucket, Prefix=f"{folder}/")

    def delete(clients: Clients, deployed: Deployed) -> Any:
        return clients("s3").delete_object(Bucket=deployed.bucket, Key=f"{folder}/nothing")

    return {
        f"{folder}/ PutObject": put,
        f"{folder}/ GetObject": get,
        f"{folder}/ ListBucket": listed,
        f"{folder}/ DeleteObject": delete,
    }


def publish(topic: str) -> Call:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:oddlot-{topic}"
    return lambda clients, _: clients("sns").publish(TopicArn=arn, Message="a")


def put_log(group: str, stream: str) -> Call:
    def call(clients: Clients, deployed: Deployed) -> Any:
        root = deployed.client("logs")
        # The stack made it, or the call for another role.
        with suppress(root.exceptions.ResourceAlreadyExistsException):
            root.create_log_stream(logGroupName=group, logStreamName=stream)
        event = {"timestamp": int(time.time() * 1000), "message": "a"}
        return clients("logs").put_log_events(
            logGroupName=group, logStreamName=stream, logEvents=[event]
        )

    return call


def create_log(group: str, stream: str) -> Call:
    def call(clients: Clients, deployed: Deployed) -> Any:
        root = deployed.client("logs")
        with suppress(root.exceptions.ResourceNotFoundException):  # nobody made it yet
            root.delete_log_stream(logGroupName=group, logStreamName=stream)
        return clients("logs").create_log_stream(logGroupName=group, logStreamName=stream)

    return call


def get_table(table: str) -> Call:
    return lambda clients, _: clients("glue").get_table(DatabaseName="oddlot", Name=table)


def glue_calls() -> dict[str, Call]:
    place = {"DatabaseName": "oddlot", "TableName": "orders_landed"}

    def partition(clients: Clients, _: Deployed) -> Any:
        glue = clients("glue")
        try:
            return glue.get_partition(**place, PartitionValues=["2026-01-01"])
        except glue.exceptions.EntityNotFoundException:
            return None  # none is stored: they are worked out

    return {
        "GetPartitions": lambda clients, _: clients("glue").get_partitions(**place),
        "GetPartition": partition,
        "GetDatabase": lambda clients, _: clients("glue").get_database(Name="oddlot"),
        "GetTables": lambda clients, _: clients("glue").get_tables(DatabaseName="oddlot"),
        "DeleteTable": lambda clients, _: clients("glue").delete_table(
            DatabaseName="oddlot", Name="nothing"
        ),
    }


def bucket_calls() -> dict[str, Call]:
    def abort(folder: str) -> Call:
        def call(clients: Clients, deployed: Deployed) -> Any:
            place = {"Bucket": deployed.bucket, "Key": f"{folder}/large"}
            begun = deployed.client("s3").create_multipart_upload(**place)
            return clients("s3").abort_multipart_upload(**place, UploadId=begun["UploadId"])

        return call

    return {
        "GetBucketLocation": lambda clients, deployed: clients("s3").get_bucket_location(
            Bucket=deployed.bucket
        ),
        "ListBucketMultipartUploads": lambda clients, deployed: clients(
            "s3"
        ).list_multipart_uploads(Bucket=deployed.bucket),
        **{
            f"{folder}/ AbortMultipartUpload": abort(folder)
            for folder in ("landed/orders", "landed/alerts", "results", "archive")
        },
    }


def athena_calls() -> dict[str, Call]:
    def with_query(verb: str) -> Call:
        def call(clients: Clients, deployed: Deployed) -> Any:
            root = deployed.client("athena")
            made = root.start_query_execution(QueryString="SELECT 1", WorkGroup="oddlot")
            number = {"QueryExecutionId": made["QueryExecutionId"]}
            last = time.monotonic() + 10
            state = ""
            while state not in ("SUCCEEDED", "FAILED"):
                assert time.monotonic() < last
                state = root.get_query_execution(**number)["QueryExecution"]["Status"]["State"]
            return getattr(clients("athena"), verb)(**number)

        return call

    def with_question(verb: str) -> Call:
        def call(clients: Clients, deployed: Deployed) -> Any:
            number = deployed.client("athena").create_named_query(
                Name="a", Database="oddlot", QueryString="SELECT 1", WorkGroup="oddlot"
            )["NamedQueryId"]
            if verb == "get_named_query":
                return clients("athena").get_named_query(NamedQueryId=number)
            return clients("athena").batch_get_named_query(NamedQueryIds=[number])

        return call

    return {
        **{
            verb: with_query(verb)
            for verb in ("get_query_execution", "get_query_results", "stop_query_execution")
        },
        **{verb: with_question(verb) for verb in ("get_named_query", "batch_get_named_query")},
        "list_named_queries": lambda clients, _: clients("athena").list_named_queries(
            WorkGroup="oddlot"
        ),
        "get_work_group": lambda clients, _: clients("athena").get_work_group(WorkGroup="oddlot"),
        "start a query": lambda clients, _: clients("athena").start_query_execution(
            QueryString="SELECT 1", WorkGroup="oddlot"
        ),
        "start a query elsewhere": lambda clients, _: clients("athena").start_query_execution(
            QueryString="SELECT 1", WorkGroup="primary"
        ),
    }


def get_code_version(clients: Clients, deployed: Deployed) -> Any:
    client = deployed.client("s3")
    client.put_bucket_versioning(Bucket=CODE, VersioningConfiguration={"Status": "Enabled"})
    put = client.put_object(Bucket=CODE, Key="oddlot-flink.zip", Body=b"zip")
    return clients("s3").get_object(Bucket=CODE, Key="oddlot-flink.zip", VersionId=put["VersionId"])


def get_code(key: str) -> Call:
    return lambda clients, _: clients("s3").get_object(Bucket=CODE, Key=key)


def send(clients: Clients, deployed: Deployed) -> Any:
    return clients("sqs").send_message(QueueUrl=deployed.id("Failures"), MessageBody="a")


def receive(clients: Clients, deployed: Deployed) -> Any:
    return clients("sqs").receive_message(QueueUrl=deployed.id("Failures"))


def generate_key(clients: Clients, deployed: Deployed) -> Any:
    return clients("kms").generate_data_key(KeyId=deployed.id("TopicsKey"), KeySpec="AES_256")


def decrypt(clients: Clients, deployed: Deployed) -> Any:
    made = deployed.client("kms").generate_data_key(
        KeyId=deployed.id("TopicsKey"), KeySpec="AES_256"
    )
    return clients("kms").decrypt(CiphertextBlob=made["CiphertextBlob"])


def make_role(clients: Clients, deployed: Deployed) -> Any:
    return clients("iam").create_role(
        RoleName=f"made-{uuid.uuid4().hex}", AssumeRolePolicyDocument=json.dumps({"Statement": []})
    )


CALLS: dict[str, Call] = {
    **stream_calls("acmecoOrders"),
    **stream_calls("acmecoAlerts"),
    **folder_calls("archive"),
    **folder_calls("landed/orders"),
    **folder_calls("landed/alerts"),
    **folder_calls("failed/orders"),
    **folder_calls("inbox/orders"),
    **folder_calls("seen"),
    **folder_calls("results"),
    **folder_calls("elsewhere"),
    **{
        f"publish {name}": publish(name) for name in ("critical", "warning", "notice", "operations")
    },
    **{
        f"{group} {stream} {verb}": call(f"/oddlot/{group}", stream)
        for group, stream in (
            *(("generator", "log"), ("engine", "log"), ("engine", "metrics")),
            *(("orders-delivery", "s3"), ("alerts-delivery", "s3"), ("flink", "application")),
        )
        for verb, call in (("PutLogEvents", put_log), ("CreateLogStream", create_log))
    },
    "function log PutLogEvents": put_log("/aws/lambda/inventory-alert-function", "a"),
    "function log CreateLogStream": create_log("/aws/lambda/inventory-alert-function", "b"),
    **{
        f"table {table}": get_table(table)
        for table in ("orders", "alerts", "orders_landed", "alerts_landed")
    },
    **{f"code {key}": get_code(key) for key in (WHEEL, "oddlot-flink.zip", "oddlot-lambda.zip")},
    "send a failure": send,
    "receive a failure": receive,
    "generate a key": generate_key,
    "decrypt a key": decrypt,
    **glue_calls(),
    **bucket_calls(),
    **athena_calls(),
    "a version of the code": get_code_version,
    "make a role": make_role,
    "call the function": lambda clients, _: clients("lambda").invoke(
        FunctionName="inventory-alert-function", Payload=b'{"Records": []}'
    ),
    "list the buckets": lambda clients, _: clients("s3").list_buckets(),
}
