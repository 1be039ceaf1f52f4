"""The engine on Amazon Managed Service for Apache Flink, where the stack is asked for it."""

from __future__ import annotations

from aws_cdk import CfnCondition, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisanalyticsv2 as analytics
from aws_cdk import aws_logs as logs

from pipeline import names


def add_flink(
    stack: Stack, *, wanted: CfnCondition, role: iam.Role, code_bucket: str, code_key: str
) -> analytics.CfnApplication:
    """Add the application; its zip comes from deploy/flink."""
    group = logs.LogGroup(
        stack,
        "FlinkLog",
        log_group_name="/oddlot/flink",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    stream = logs.LogStream(
        stack,
        "FlinkLogStream",
        log_group=group,
        log_stream_name="application",
        removal_policy=RemovalPolicy.DESTROY,
    )
    owner = analytics.CfnApplication
    application = owner(
        stack,
        "Flink",
        application_name=names.FLINK,
        runtime_environment="FLINK-1_20",
        service_execution_role=role.role_arn,
        application_configuration=owner.ApplicationConfigurationProperty(
            application_code_configuration=owner.ApplicationCodeConfigurationProperty(
                code_content_type="ZIPFILE",
                code_content=owner.CodeContentProperty(
                    s3_content_location=owner.S3ContentLocationProperty(
                        bucket_arn=names.bucket_arn(code_bucket), file_key=code_key
                    )
                ),
            ),
            application_snapshot_configuration=owner.ApplicationSnapshotConfigurationProperty(
                snapshots_enabled=True
            ),
            environment_properties=owner.EnvironmentPropertiesProperty(
                property_groups=[
                    owner.PropertyGroupProperty(
                        property_group_id="kinesis.analytics.flink.run.options",
                        property_map={"python": "main.py", "jarfile": "lib/connectors.jar"},
                    ),
                    owner.PropertyGroupProperty(
                        property_group_id="oddlot",
                        property_map={"orders": names.ORDERS, "alerts": names.ALERTS},
                    ),
                ]
            ),
            flink_application_configuration=owner.FlinkApplicationConfigurationProperty(
                checkpoint_configuration=owner.CheckpointConfigurationProperty(
                    configuration_type="CUSTOM",
                    checkpointing_enabled=True,
                    checkpoint_interval=60_000,
                    min_pause_between_checkpoints=5_000,
                ),
                monitoring_configuration=owner.MonitoringConfigurationProperty(
                    configuration_type="CUSTOM", log_level="INFO", metrics_level="APPLICATION"
                ),
                parallelism_configuration=owner.ParallelismConfigurationProperty(
                    configuration_type="CUSTOM",
                    parallelism=1,
                    parallelism_per_kpu=1,
                    auto_scaling_enabled=False,
                ),
            ),
        ),
    )
    option = analytics.CfnApplicationCloudWatchLoggingOption(
        stack,
        "FlinkLogging",
        application_name=application.ref,
        cloud_watch_logging_option=analytics.CfnApplicationCloudWatchLoggingOption.CloudWatchLoggingOptionProperty(
            log_stream_arn=names.log_arn("/oddlot/flink", "application")
        ),
    )
    option.node.add_dependency(stream)
    for one in (application, option):
        one.cfn_options.condition = wanted
    return application
