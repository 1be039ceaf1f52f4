"""Alarms, and the dashboard in CloudWatch."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from pipeline import names

MINUTES = {count: Duration.minutes(count) for count in (1, 5, 15)}
STREAM = "AWS/Kinesis"
QUIET = cloudwatch.TreatMissingData.NOT_BREACHING
OWN = ("Published", "Repeated", "Failed", "Rejected", "DeadLettered")  # what the function counts
ABSENT = cloudwatch.TreatMissingData.BREACHING


def _metric(
    namespace: str, name: str, statistic: str, minutes: int = 1, **dimensions: str
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        statistic=statistic,
        period=MINUTES[minutes],
        dimensions_map=dimensions,
    )


ITERATOR_AGE = _metric("AWS/Lambda", "IteratorAge", "Maximum", FunctionName=names.FUNCTION)
ERRORS = _metric("AWS/Lambda", "Errors", "Sum", 5, FunctionName=names.FUNCTION)
THROTTLES = _metric("AWS/Lambda", "Throttles", "Sum", 5, FunctionName=names.FUNCTION)
FAILURES = _metric(
    *("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", 5),
    QueueName=f"{names.FUNCTION}-failures",
)
INCOMING = _metric(STREAM, "IncomingRecords", "Sum", 15, StreamName=names.ORDERS)
AGE = _metric(STREAM, "GetRecords.IteratorAgeMilliseconds", "Maximum", StreamName=names.ORDERS)


def _own(name: str) -> cloudwatch.Metric:
    return _metric(names.NAMESPACE, name, "Sum", function=names.FUNCTION)


def _refused(stream: str) -> cloudwatch.Metric:
    return _metric(STREAM, "WriteProvisionedThroughputExceeded", "Sum", 5, StreamName=stream)


def _freshness(delivery: str) -> cloudwatch.Metric:
    return _metric(
        *("AWS/Firehose", "DeliveryToS3.DataFreshness", "Maximum", 5), DeliveryStreamName=delivery
    )


def add_alarms(stack: Stack, operations: sns.Topic) -> list[cloudwatch.Alarm]:
    """Add an alarm for each way in which orders or alerts stop without a word.

    Args:
        stack: what they belong to.
        operations: the topic that they tell.
    """
    table = [
        # name, what it means, metric, more than, times, if there is no value
        ("no-orders", "No order line came for 15 minutes.", INCOMING, 0, 1, ABSENT),
        ("orders-unread", "Order lines wait for over 10 minutes.", AGE, 600_000, 5, QUIET),
        ("alerts-unread", "Alerts wait for over 5 minutes.", ITERATOR_AGE, 300_000, 3, QUIET),
        ("function-errors", "The function fails.", ERRORS, 0, 1, QUIET),
        ("function-throttled", "The function is throttled.", THROTTLES, 0, 2, QUIET),
        ("function-gave-up", "Alerts lie in the queue of failures.", FAILURES, 0, 1, QUIET),
        ("orders-refused", "Orders exceed their shards.", _refused(names.ORDERS), 0, 3, QUIET),
        ("alerts-refused", "Alerts exceed their shards.", _refused(names.ALERTS), 0, 3, QUIET),
        *(
            (f"{name}-not-landed", f"No {name} landed in S3.", _freshness(delivery), 1200, 3, QUIET)
            for name, delivery in names.DELIVERIES.items()
        ),
    ]
    alarms = []
    for name, meaning, metric, most, times, missing in table:
        is_less = name == "no-orders"
        alarm = cloudwatch.Alarm(
            stack,
            name.replace("-", " ").title().replace(" ", "") + "Alarm",
            alarm_name=f"oddlot-{name}",
            alarm_description=meaning,
            metric=metric,
            threshold=most,
            evaluation_periods=times,
            treat_missing_data=missing,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD
            if is_less
            else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        )
        alarm.add_alarm_action(actions.SnsAction(operations))
        alarm.add_ok_action(actions.SnsAction(operations))
        alarms.append(alarm)
    return alarms


def add_dashboard(stack: Stack, alarms: list[cloudwatch.Alarm]) -> cloudwatch.Dashboard:
    """Add the dashboard: the way of an order line from left to right."""

    def graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8, height=6)

    dashboard = cloudwatch.Dashboard(stack, "Dashboard", dashboard_name="oddlot")
    dashboard.add_widgets(cloudwatch.AlarmStatusWidget(alarms=alarms, width=24, title="Alarms"))
    dashboard.add_widgets(
        graph(
            "Records into the streams",
            *(
                _metric(STREAM, "IncomingRecords", "Sum", StreamName=stream)
                for stream in (names.ORDERS, names.ALERTS)
            ),
        ),
        graph("How long they wait, ms", AGE, ITERATOR_AGE),
        graph("Refused by the shards", _refused(names.ORDERS), _refused(names.ALERTS)),
    )
    dashboard.add_widgets(
        graph(
            "The function",
            _metric("AWS/Lambda", "Invocations", "Sum", FunctionName=names.FUNCTION),
            ERRORS,
            THROTTLES,
        ),
        graph("Alerts published by it, and not", *map(_own, OWN), FAILURES),
        graph("Age of what has not landed, s", *map(_freshness, names.DELIVERIES.values())),
    )
    return dashboard
