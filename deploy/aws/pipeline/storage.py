"""Streams, the bucket, its tables, what Firehose lands in it, and Athena's questions."""

from __future__ import annotations

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from pipeline import names
from pipeline.exceptions import accept

# The columns of order_schema and alert_schema in src/oddlot/schema.py; a test compares them.
ARCHIVED = {
    "orders": (
        *(("time", "timestamp"), ("invoice", "string"), ("sku", "string")),
        *(("description", "string"), ("quantity", "bigint"), ("price", "double")),
        *(("customer", "string"), ("country", "string"), ("kind", "string")),
        *(("source", "string"), ("position", "bigint"), ("number", "bigint")),
    ),
    "alerts": (
        *(("time", "timestamp"), ("id", "string"), ("detector", "string"), ("sku", "string")),
        *(("chance", "double"), ("rate", "double"), ("score", "double")),
        *(("invoice", "string"), ("description", "string"), ("quantity", "bigint")),
        *(("price", "double"), ("source", "string"), ("position", "bigint")),
        *(("number", "bigint"), ("evidence", "string"), ("text", "string")),
        *(("incident", "string"), ("stake", "double"), ("probability", "double")),
        ("severity", "double"),
    ),
}
# What is on the streams. Lines as the agent sends them: each value a text, so that no line is
# lost to a value that is not what its column should hold; the archive is where they have types.
LANDED = {
    "orders": tuple(
        (name, "string")
        for name in (
            *("invoiceno", "stockcode", "description", "quantity", "invoicedate"),
            *("unitprice", "customerid", "country", "recordid"),
        )
    ),
    # The row that oddlot.alerts.make.alert_row makes; its time and type are texts.
    "alerts": (
        *(("time", "string"), ("sku", "string"), ("type", "string")),
        *(("score", "double"), ("rate", "double"), ("chance", "double")),
        *(("invoice", "string"), ("description", "string"), ("quantity", "bigint")),
        *(("price", "double"), ("source", "string"), ("position", "bigint")),
        *(("number", "bigint"), ("id", "string"), ("evidence", "string"), ("text", "string")),
        *(("incident", "string"), ("stake", "double"), ("probability", "double")),
        ("severity", "double"),
    ),
}
STREAMS = {"orders": names.ORDERS, "alerts": names.ALERTS}
FIRST_DATE = {names.ARCHIVE: "2009-01-01", names.LANDED: "2026-01-01"}


def add_streams(stack: Stack, shards: dict[str, float]) -> dict[str, kinesis.Stream]:
    """Add the streams of orders and alerts, by table."""
    return {
        table: kinesis.Stream(
            stack,
            f"{table.title()}Stream",
            stream_name=stream,
            stream_mode=kinesis.StreamMode.PROVISIONED,
            shard_count=shards[table],
            # A week, in which an engine that stands still loses nothing.
            retention_period=Duration.days(7),
            encryption=kinesis.StreamEncryption.MANAGED,
            removal_policy=RemovalPolicy.DESTROY,
        )
        for table, stream in STREAMS.items()
    }


def add_bucket(stack: Stack, function: lambda_.CfnFunction) -> tuple[s3.Bucket, s3.Bucket]:
    """Add the bucket whose inbox starts the function, and the one for its access log.

    Both stay when the stack is deleted.
    """
    log = s3.Bucket(
        stack,
        "LogsBucket",
        bucket_name=names.LOGS_BUCKET,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(90))],
        removal_policy=RemovalPolicy.RETAIN,
    )
    bucket = s3.Bucket(
        stack,
        "Bucket",
        bucket_name=names.BUCKET,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        versioned=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        lifecycle_rules=[
            s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30)),
            s3.LifecycleRule(
                prefix=f"{names.SEEN}/",
                expiration=Duration.days(14),  # longer than the streams keep an alert
                noncurrent_version_expiration=Duration.days(1),
            ),
            s3.LifecycleRule(prefix=f"{names.RESULTS}/", expiration=Duration.days(7)),
            s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1)),
        ],
        removal_policy=RemovalPolicy.RETAIN,
    )
    log.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["s3:PutObject"],
            resources=[log.arn_for_objects("bucket/*")],
            principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
            conditions={
                "ArnEquals": {"aws:SourceArn": names.bucket_arn(names.BUCKET)},
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
            },
        )
    )
    permission = lambda_.CfnPermission(
        stack,
        "BucketMayCall",
        action="lambda:InvokeFunction",
        function_name=function.attr_arn,
        principal="s3.amazonaws.com",
        source_account=Aws.ACCOUNT_ID,
        source_arn=names.bucket_arn(names.BUCKET),
    )
    plain = bucket.node.default_child
    assert isinstance(plain, s3.CfnBucket)  # noqa: S101 - what a Bucket is made of
    plain.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
        destination_bucket_name=log.bucket_name, log_file_prefix="bucket/"
    )
    plain.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        lambda_configurations=[
            s3.CfnBucket.LambdaConfigurationProperty(
                event="s3:ObjectCreated:*",
                function=function.attr_arn,
                filter=_starts_with(f"{names.INBOX}/{table}/"),
            )
            for table in STREAMS
        ]
    )
    plain.add_resource_dependency(permission)
    return bucket, log


def add_tables(stack: Stack) -> dict[str, glue.CfnTable]:
    """Add the database and its four tables, each with a partition a day that needs no crawler."""
    database = glue.CfnDatabase(
        stack,
        "Database",
        catalog_id=Aws.ACCOUNT_ID,
        database_input=glue.CfnDatabase.DatabaseInputProperty(name=names.DATABASE),
    )
    tables = {}
    for table in STREAMS:
        for folder, columns in ((names.ARCHIVE, ARCHIVED), (names.LANDED, LANDED)):
            name = table if folder == names.ARCHIVE else f"{table}_{folder}"
            tables[name] = _table(stack, name, f"{folder}/{table}", columns[table], folder)
            tables[name].add_resource_dependency(database)
    return tables


def add_delivery(
    stack: Stack,
    streams: dict[str, kinesis.Stream],
    roles: dict[str, iam.Role],
    tables: dict[str, glue.CfnTable],
    bucket: s3.Bucket,
) -> list[firehose.CfnDeliveryStream]:
    """Add what lands each stream in the bucket as Parquet, by the date of its arrival."""
    made = []
    for table, stream in streams.items():
        group = logs.LogGroup(
            stack,
            f"{table.title()}DeliveryLog",
            log_group_name=f"/oddlot/{table}-delivery",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        log_stream = logs.LogStream(
            stack,
            f"{table.title()}DeliveryLogStream",
            log_group=group,
            log_stream_name="s3",
            removal_policy=RemovalPolicy.DESTROY,
        )
        owner = firehose.CfnDeliveryStream
        role = roles[table]
        delivery = owner(
            stack,
            f"{table.title()}Delivery",
            delivery_stream_name=names.DELIVERIES[table],
            delivery_stream_type="KinesisStreamAsSource",
            kinesis_stream_source_configuration=owner.KinesisStreamSourceConfigurationProperty(
                kinesis_stream_arn=stream.stream_arn, role_arn=role.role_arn
            ),
            extended_s3_destination_configuration=owner.ExtendedS3DestinationConfigurationProperty(
                bucket_arn=bucket.bucket_arn,
                role_arn=role.role_arn,
                prefix=f"{names.LANDED}/{table}/date=!{{timestamp:yyyy-MM-dd}}/",
                error_output_prefix=(
                    f"{names.FAILED}/{table}/!{{firehose:error-output-type}}/"
                    "date=!{timestamp:yyyy-MM-dd}/"
                ),
                # 64 MiB is the least that Firehose takes when it makes Parquet.
                buffering_hints=owner.BufferingHintsProperty(
                    interval_in_seconds=300, size_in_m_bs=64
                ),
                compression_format="UNCOMPRESSED",  # of the object; Parquet compresses inside
                cloud_watch_logging_options=owner.CloudWatchLoggingOptionsProperty(
                    enabled=True, log_group_name=group.log_group_name, log_stream_name="s3"
                ),
                data_format_conversion_configuration=owner.DataFormatConversionConfigurationProperty(
                    enabled=True,
                    input_format_configuration=owner.InputFormatConfigurationProperty(
                        deserializer=owner.DeserializerProperty(
                            open_x_json_ser_de=owner.OpenXJsonSerDeProperty(case_insensitive=True)
                        )
                    ),
                    output_format_configuration=owner.OutputFormatConfigurationProperty(
                        serializer=owner.SerializerProperty(
                            parquet_ser_de=owner.ParquetSerDeProperty(compression="SNAPPY")
                        )
                    ),
                    schema_configuration=owner.SchemaConfigurationProperty(
                        catalog_id=Aws.ACCOUNT_ID,
                        database_name=names.DATABASE,
                        region=Aws.REGION,
                        role_arn=role.role_arn,
                        table_name=f"{table}_{names.LANDED}",
                        version_id="LATEST",
                    ),
                ),
            ),
        )
        accept(delivery, "KDF1", "What comes from a stream is encrypted by the stream's own key.")
        delivery.node.add_dependency(log_stream, tables[f"{table}_{names.LANDED}"])
        made.append(delivery)
    return made


def add_questions(stack: Stack, bucket: s3.Bucket) -> athena.CfnWorkGroup:
    """Add the workgroup and the questions of sql/, word for word."""
    group = athena.CfnWorkGroup(
        stack,
        "Workgroup",
        name=names.WORKGROUP,
        recursive_delete_option=True,
        work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
            enforce_work_group_configuration=True,
            publish_cloud_watch_metrics_enabled=True,
            bytes_scanned_cutoff_per_query=10 * 1024**3,  # of one query: 5 cents at most
            engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                selected_engine_version="Athena engine version 3"
            ),
            result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                output_location=f"s3://{names.BUCKET}/{names.RESULTS}/",
                expected_bucket_owner=Aws.ACCOUNT_ID,
                encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                    encryption_option="SSE_S3"
                ),
            ),
        ),
    )
    group.node.add_dependency(bucket)
    for file in sorted((names.HERE / "sql").glob("*.sql")):
        query = athena.CfnNamedQuery(
            stack,
            "Query" + file.stem.replace("_", " ").title().replace(" ", ""),
            name=file.stem,
            database=names.DATABASE,
            work_group=names.WORKGROUP,
            description=file.read_text().splitlines()[0].strip("/* "),
            query_string=file.read_text(),
        )
        query.add_resource_dependency(group)
    return group


def _table(
    stack: Stack, name: str, place: str, columns: tuple[tuple[str, str], ...], folder: str
) -> glue.CfnTable:
    column = glue.CfnTable.ColumnProperty
    location = f"s3://{names.BUCKET}/{place}/"
    parquet = "org.apache.hadoop.hive.ql.io.parquet"
    return glue.CfnTable(
        stack,
        "Table" + name.replace("_", " ").title().replace(" ", ""),
        catalog_id=Aws.ACCOUNT_ID,
        database_name=names.DATABASE,
        table_input=glue.CfnTable.TableInputProperty(
            name=name,
            table_type="EXTERNAL_TABLE",
            partition_keys=[column(name="date", type="string")],
            parameters={
                "classification": "parquet",
                "EXTERNAL": "TRUE",
                "projection.enabled": "true",
                "projection.date.type": "date",
                "projection.date.format": "yyyy-MM-dd",
                "projection.date.range": f"{FIRST_DATE[folder]},NOW+1DAYS",
                "storage.location.template": f"{location}date=${{date}}",
            },
            storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                columns=[column(name=name, type=kind) for name, kind in columns],
                location=location,
                input_format=f"{parquet}.MapredParquetInputFormat",
                output_format=f"{parquet}.MapredParquetOutputFormat",
                serde_info=glue.CfnTable.SerdeInfoProperty(
                    serialization_library=f"{parquet}.serde.ParquetHiveSerDe",
                    parameters={"serialization.format": "1"},
                ),
            ),
        ),
    )


def _starts_with(prefix: str) -> s3.CfnBucket.NotificationFilterProperty:
    return s3.CfnBucket.NotificationFilterProperty(
        s3_key=s3.CfnBucket.S3KeyFilterProperty(
            rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value=prefix)]
        )
    )
