"""Writes template.json, the whole reference pipeline on AWS as CloudFormation."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from aws_cdk import (
    App,
    CfnCondition,
    CfnOutput,
    CfnParameter,
    Fn,
    LegacyStackSynthesizer,
    Stack,
    Validations,
)
from cdk_nag import AwsSolutionsChecks

from pipeline import names
from pipeline.flink import add_flink
from pipeline.function import add_failures, add_function, add_stream_trigger, add_topics
from pipeline.hosts import add_hosts
from pipeline.roles import Roles
from pipeline.storage import add_bucket, add_delivery, add_questions, add_streams, add_tables
from pipeline.watching import add_alarms, add_dashboard


def build(app: App) -> Stack:
    """Put the stack together."""
    stack = Stack(
        app,
        "oddlot",
        description="Oddlot: inventory anomalies in a shop's order lines",
        analytics_reporting=False,
        synthesizer=LegacyStackSynthesizer(),
    )
    code_bucket = _parameter(stack, "CodeBucket", "The bucket that holds the code.")
    function_zip = _parameter(
        stack, "FunctionKey", "Key of the function's zip.", "oddlot-lambda.zip"
    )
    wheel = _parameter(stack, "WheelKey", "Key of Oddlot's wheel.", "oddlot-0.1.0-py3-none-any.whl")
    flink_zip = _parameter(stack, "FlinkKey", "Key of Flink's zip.", "oddlot-flink.zip")
    engine = CfnParameter(
        stack,
        "Engine",
        description="What finds the anomalies: a host with oddlot run, or Managed Flink.",
        allowed_values=["host", "flink"],
        default="host",
    )
    on_host = CfnCondition(
        stack, "OnHost", expression=Fn.condition_equals(engine.value_as_string, "host")
    )
    on_flink = CfnCondition(
        stack, "OnFlink", expression=Fn.condition_equals(engine.value_as_string, "flink")
    )

    key, topics = add_topics(stack)
    failures = add_failures(stack)
    roles = Roles(
        stack,
        code_bucket=code_bucket,
        wheel=wheel,
        flink_zip=flink_zip,
        topics_key=key.key_arn,
        topics=[topics[name].topic_arn for name in names.SEVERITIES],
        failures=failures.queue_arn,
    )
    function, _ = add_function(
        stack,
        role=roles.function,
        code_bucket=code_bucket,
        code_key=function_zip,
        topics=topics,
        failures=failures,
    )
    shards = CfnParameter(
        stack,
        "OrdersShards",
        type="Number",
        default=1,
        min_value=1,
        max_value=200,
        description="Shards of the orders: one takes 1,000 lines a second, more when packed.",
    )
    streams = add_streams(stack, {"orders": shards.value_as_number, "alerts": 1})
    bucket, _ = add_bucket(stack, function)
    tables = add_tables(stack)
    add_delivery(stack, streams, roles.delivery, tables, bucket)
    add_questions(stack, bucket)
    add_stream_trigger(stack, function, streams["alerts"], failures)
    add_hosts(
        stack,
        generator=roles.generator,
        engine=roles.engine,
        on_host=on_host,
        code_bucket=code_bucket,
        wheel=wheel,
    )
    add_flink(stack, wanted=on_flink, role=roles.flink, code_bucket=code_bucket, code_key=flink_zip)
    alarms = add_alarms(stack, topics["operations"])
    add_dashboard(stack, alarms)
    for name, topic in topics.items():
        CfnOutput(stack, f"{name.title()}TopicArn", value=topic.topic_arn)
    CfnOutput(stack, "BucketName", value=bucket.bucket_name)
    CfnOutput(stack, "AnalystRoleArn", value=roles.analyst.role_arn)
    return stack


def synthesise() -> str:
    """Return the template's text.

    Raises:
        RuntimeError: a check of cdk-nag failed; what it says is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        app = App(outdir=folder, analytics_reporting=False)
        stack = build(app)
        Validations.of(app).add_plugins(
            AwsSolutionsChecks(app, write_suppressions_to_cloud_formation=True)
        )
        made = app.synth().get_stack_artifact(stack.artifact_id)
        template = json.loads(Path(made.template_full_path).read_text())
    return json.dumps(template, indent=1) + "\n"


def _parameter(stack: Stack, name: str, description: str, default: str | None = None) -> str:
    made = CfnParameter(stack, name, description=description, default=default, min_length=1)
    return str(made.value_as_string)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--to", type=Path, metavar="FILE", default=names.HERE / "template.json")
    asked = reader.parse_args()
    text = synthesise()
    asked.to.write_text(text)
    print(f"{asked.to}: {len(json.loads(text)['Resources'])} resources")


if __name__ == "__main__":
    main()
