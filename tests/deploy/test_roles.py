"""Each role of the stack may make the calls that its component makes, and no others."""

from __future__ import annotations

import json
import re

import pytest
from botocore.exceptions import ClientError

from deployed import WHEEL, Clients, Deployed, is_denied
from role_calls import CALLS, Call

ROLES = ("Generator", "Engine", "Function", "OrdersDelivery", "AlertsDelivery", "Analyst", "Flink")


def reads(stream: str, also: str = "") -> set[str]:
    verbs = ("ListShards", "DescribeStreamSummary", "GetShardIterator", "GetRecords", also)
    return {f"{stream} {verb}" for verb in verbs if verb}


def delivers(table: str) -> set[str]:
    folders = {f"landed/{table}/"} | ({"failed/orders/"} if table == "orders" else set())
    return {
        *reads("acmeco" + table.title(), "DescribeStream"),
        *(f"{one} {verb}" for one in folders for verb in ("PutObject", "GetObject", "ListBucket")),
        f"{table}-delivery s3 PutLogEvents",
        f"table {table}_landed",
        *("GetBucketLocation", "ListBucketMultipartUploads"),
        f"landed/{table}/ AbortMultipartUpload",
    }


def writes_log(group: str, *streams: str) -> set[str]:
    verbs = ("PutLogEvents", "CreateLogStream")
    return {f"{group} {stream} {verb}" for stream in streams for verb in verbs}


# What MiniStack denies though Amazon allows it: it asks for the right on a table that has the
# database's name, and on "*" where Amazon asks for it on the query's workgroup.
MISJUDGED = {
    "GetDatabase",
    *("get_query_execution", "get_query_results", "stop_query_execution"),
    *("get_named_query", "batch_get_named_query"),
}
UNKNOWN_ACTIONS = {"glue:GetTableVersion", "glue:GetTableVersions"}  # to MiniStack
# What MiniStack judges by the database alone, not by the table.
BY_DATABASE = {f"table {table}" for table in ("orders", "alerts", "orders_landed", "alerts_landed")}
READS_A_TABLE = ("OrdersDelivery", "AlertsDelivery")

ALLOWED = {
    "Generator": {
        "acmecoOrders PutRecords",
        f"code {WHEEL}",
        *writes_log("generator", "log"),
    },
    "Engine": {
        *reads("acmecoOrders"),
        "acmecoAlerts PutRecords",
        "archive/ PutObject",
        "archive/ ListBucket",
        f"code {WHEEL}",
        *writes_log("engine", "log", "metrics"),
    },
    "Function": {
        *reads("acmecoAlerts", "DescribeStream"),
        "acmecoOrders PutRecords",
        "inbox/orders/ GetObject",
        *(f"seen/ {verb}" for verb in ("GetObject", "PutObject", "ListBucket")),
        *("publish critical", "publish warning", "publish notice"),
        *("generate a key", "decrypt a key", "send a failure"),
        *("function log PutLogEvents", "function log CreateLogStream"),
    },
    "OrdersDelivery": delivers("orders"),
    "AlertsDelivery": delivers("alerts"),
    "Analyst": {
        *(f"table {table}" for table in ("orders", "alerts", "orders_landed", "alerts_landed")),
        *(
            f"{folder}/ {verb}"
            for folder in ("archive", "landed/orders", "landed/alerts")
            for verb in ("GetObject", "ListBucket")
        ),
        *(f"results/ {verb}" for verb in ("GetObject", "PutObject", "ListBucket")),
        *("GetDatabase", "GetTables", "GetPartition", "GetPartitions"),
        *("GetBucketLocation", "results/ AbortMultipartUpload"),
        *("get_query_execution", "get_query_results", "stop_query_execution"),
        *("get_named_query", "batch_get_named_query", "list_named_queries", "get_work_group"),
        "start a query",
    },
    "Flink": {
        *reads("acmecoOrders", "DescribeStream"),
        "acmecoAlerts PutRecords",
        *("code oddlot-flink.zip", "a version of the code"),
        "flink application PutLogEvents",
    },
}


def refused(call: Call, clients: Clients, deployed: Deployed) -> bool:
    """Whether a call was denied; any other error is the call's own affair, and raised."""
    try:
        call(clients, deployed)
    except ClientError as error:
        if is_denied(error):
            return True
        raise
    return False


def actions(deployed: Deployed, role: str) -> set[str]:
    (policy,) = deployed.template["Resources"][f"{role}Role"]["Properties"]["Policies"]
    found: set[str] = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        action = statement["Action"]
        found |= {action} if isinstance(action, str) else set(action)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_component_does_and_needs_each_right(
    deployed: Deployed, role: str
) -> None:
    clients = deployed.acting(role)
    deployed.called[role].clear()
    denied = {name for name in sorted(ALLOWED[role]) if refused(CALLS[name], clients, deployed)}
    assert denied == ALLOWED[role] & MISJUDGED
    assert deployed.called[role] == actions(deployed, role) - UNKNOWN_ACTIONS


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_else(deployed: Deployed, role: str) -> None:
    clients = deployed.acting(role)
    others = CALLS.keys() - ALLOWED[role]
    if role in READS_A_TABLE:
        others -= BY_DATABASE
    let_through = []
    for name in sorted(others):
        try:
            if not refused(CALLS[name], clients, deployed):
                let_through.append(name)
        except ClientError as error:
            let_through.append(f"{name}: {error}")
    assert not let_through


def test_every_call_is_denied_to_a_role_without_a_policy(deployed: Deployed) -> None:
    """So that a call that is allowed above is allowed by a policy, not by the server's grace."""
    deployed.client("iam").create_role(
        RoleName="nobody",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
    )
    clients = deployed.acting("nobody")
    let_through = [name for name, call in CALLS.items() if not refused(call, clients, deployed)]
    assert not let_through


def test_a_delivery_may_read_its_own_table_only(deployed: Deployed) -> None:
    """By the policy's text: MiniStack judges calls to Glue by the database alone."""
    for table in ("orders", "alerts"):
        resource = deployed.template["Resources"][f"{table.title()}DeliveryRole"]
        tables = re.findall(r"table/oddlot/(\w+)", json.dumps(resource))
        assert tables == [f"{table}_landed"]


def test_plain_http_is_denied_to_all_but_root(deployed: Deployed) -> None:
    """By the policies of bucket, topics and queue; MiniStack speaks TLS in these tests."""
    for kind, count in (("S3::Bucket", 2), ("SNS::Topic", 4), ("SQS::Queue", 1)):
        denying = [
            one
            for one in deployed.template["Resources"].values()
            if one["Type"] == f"AWS::{kind}Policy"
            and '"Deny"' in json.dumps(one)
            and '"aws:SecureTransport": "false"' in json.dumps(one)
        ]
        assert len(denying) == count


@pytest.mark.parametrize("role", [role for role in ROLES if role != "Analyst"])
def test_only_its_service_may_assume_a_role(deployed: Deployed, role: str) -> None:
    trust = deployed.template["Resources"][f"{role}Role"]["Properties"]["AssumeRolePolicyDocument"]
    (statement,) = trust["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert list(statement["Principal"]) == ["Service"]
