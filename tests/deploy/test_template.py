"""The template is what the program makes, passes the checks, and gives no right away for free."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deployed
import tree
from loopback import install
from oddlot import schema

# Where the stack does not do as cdk-nag wants; deploy/aws says why, beside each.
EXCEPTIONS = {
    *("AwsSolutions-EC28", "AwsSolutions-EC29", "AwsSolutions-IAM5"),
    *("AwsSolutions-KDF1", "AwsSolutions-SQS3"),
}
# An asterisk is allowed at the end of a folder of our bucket, and for the names that Lambda makes
# up for the streams in the function's own log group.
FOLDER = re.compile(r"arn:P:s3:::oddlot-A-R/(archive|landed|failed|inbox|seen|results)(/\w+)?/\*")
OWN_LOG = "arn:P:logs:R:A:log-group:/aws/lambda/inventory-alert-function:log-stream:*"
PARTS = {"AWS::Partition": "P", "AWS::Region": "R", "AWS::AccountId": "A"}
USER_DATA_BYTES = 16_384  # Amazon's limit
TYPES = {"timestamp[us]": "timestamp", "string": "string", "int64": "bigint", "double": "double"}
DOCUMENT = re.compile(r"^cat > (\S+) <<'END_OF_FILE'\n(.*?)^END_OF_FILE$", re.MULTILINE | re.DOTALL)

Statement = dict[str, Any]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(install.program(command[0])), *command[1:]],
        env=install.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def resources(kind: str) -> dict[str, dict[str, Any]]:
    every = deployed.template()["Resources"].items()
    return {name: one["Properties"] for name, one in every if one["Type"] == kind}


def text_of(value: Any) -> str:
    """What CloudFormation will put there, with short names for what only it knows."""
    if isinstance(value, str):
        return value
    ((verb, inner),) = value.items()
    if verb == "Ref":
        return PARTS.get(inner, f"<{inner}>")
    if verb == "Fn::GetAtt":
        return f"<{'.'.join(inner)}>"
    if verb == "Fn::Join":
        return str(inner[0].join(map(text_of, inner[1])))
    assert verb == "Fn::Base64", value
    return text_of(inner)


def statements(template: dict[str, Any]) -> Iterator[tuple[str, Statement]]:
    """Every policy statement anywhere in a template, with its resource's type."""

    def walk(value: Any) -> Iterator[Statement]:
        if isinstance(value, dict):
            if "Effect" in value and ("Action" in value or "NotAction" in value):
                yield value
            for inner in value.values():
                yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    for one in template["Resources"].values():
        for statement in walk(one["Properties"]):
            yield one["Type"], statement


def too_wide(template: dict[str, Any]) -> list[str]:
    """What a template allows with an asterisk where none has to be."""
    found = []
    for kind, statement in statements(template):
        if statement["Effect"] == "Deny":
            continue  # nothing is too much
        found += [f"{name} in {kind}" for name in ("NotAction", "NotResource") if name in statement]
        for action in listed(statement.get("Action", [])):
            if "*" in action:
                found.append(f"{action} in {kind}")
        for resource in map(text_of, listed(statement.get("Resource", []))):
            is_key_itself = kind == "AWS::KMS::Key" and resource == "*"
            is_own_log_bucket = (
                kind == "AWS::S3::BucketPolicy" and resource == "<LogsBucket9C4D8843.Arn>/bucket/*"
            )
            may_end = FOLDER.fullmatch(resource) or resource == OWN_LOG
            if "*" in resource and not (is_key_itself or is_own_log_bucket or may_end):
                found.append(f"{resource} in {kind}")
        if listed(statement.get("Principal", {}).get("AWS", [])) == ["*"]:
            found.append(f"everybody in {kind}")
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_program_makes_the_committed_template(loopback: None, tmp_path: Path) -> None:
    """And cdk-nag lets it pass, else there would be none."""
    made = run("python", str(deployed.AWS / "app.py"), "--to", str(tmp_path / "made.json"))
    assert made.returncode == 0, made.stderr
    committed = (deployed.AWS / "template.json").read_text()
    assert (tmp_path / "made.json").read_text() == committed, "run deploy/aws/app.py"


def test_cdk_nag_finds_what_was_accepted_and_nothing_else(loopback: None) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(deployed.AWS)!r}); from pipeline import exceptions\n"
        "exceptions.accept = lambda *_: None\n"
        "import app; app.synthesise()"
    )
    ended = run("python", "-c", code)
    assert ended.returncode != 0
    found = re.findall(r"Acknowledge with 'AwsSolutions::(AwsSolutions-\w+)", ended.stderr)
    assert set(found) == EXCEPTIONS


def test_cfn_lint_finds_what_is_wrong_and_nothing_in_the_template(
    loopback: None, tmp_path: Path
) -> None:
    wrong = deployed.template()
    wrong["Resources"]["Function"]["Properties"]["Runtime"] = "python9.9"
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    files = (deployed.AWS / "template.json", tmp_path / "wrong.json")
    ended = run("cfn-lint", "--format", "parseable", *map(str, files))
    found = ended.stdout.splitlines()
    assert len(found) == 1, ended.stdout + ended.stderr
    assert found[0].startswith(str(files[1]))
    assert "python9.9" in found[0]


def test_no_action_and_no_resource_is_a_wildcard() -> None:
    assert not too_wide(deployed.template())


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:*", "arn:aws:s3:::a"),
        ("*", "arn:aws:s3:::a"),
        ("s3:Get*", "arn:aws:s3:::a/b"),
        ("s3:GetObject", "*"),
        ("s3:GetObject", "arn:aws:s3:::*"),
        ("s3:GetObject", {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::other/*"]]}),
        ("sns:Publish", {"Fn::Join": ["", [{"Ref": "Topic"}, "*"]]}),
    ],
)
def test_a_wildcard_would_be_found(action: str, resource: Any) -> None:
    template = deployed.template()
    (policy,) = template["Resources"]["EngineRole"]["Properties"]["Policies"]
    policy["PolicyDocument"]["Statement"].append(
        {"Effect": "Allow", "Action": action, "Resource": resource}
    )
    assert too_wide(template)


def test_each_component_has_a_role_of_its_own() -> None:
    every = json.dumps(deployed.template()["Resources"])
    roles = resources("AWS::IAM::Role")
    assert len(roles) == 7
    for role in roles.keys() - {"AnalystRole"}:
        assert f'"{role}' in every.replace(f'"{role}": {{"Type"', ""), f"{role} is nobody's"
    assert not resources("AWS::IAM::Policy"), "a role is whole as it is"
    assert all("ManagedPolicyArns" not in role for role in roles.values())


def test_tables_have_the_columns_of_the_archive() -> None:
    tables = {
        one["TableInput"]["Name"]: one["TableInput"]
        for one in resources("AWS::Glue::Table").values()
    }
    for name, arrow in (("orders", schema.order_schema()), ("alerts", schema.alert_schema())):
        columns = tables[name]["StorageDescriptor"]["Columns"]
        assert [(one["Name"], one["Type"]) for one in columns] == [
            (field.name, TYPES[str(field.type)]) for field in arrow
        ]
        assert tables[name]["PartitionKeys"] == [{"Name": "date", "Type": "string"}]
        place = text_of(tables[name]["StorageDescriptor"]["Location"])
        assert place == f"s3://oddlot-A-R/archive/{name}/"
        template = text_of(tables[name]["Parameters"]["storage.location.template"])
        assert template == place + "date=${date}"


def test_the_questions_of_athena_are_the_files() -> None:
    asked = {
        one["Name"]: one["QueryString"] for one in resources("AWS::Athena::NamedQuery").values()
    }
    files = {file.stem: file.read_text() for file in (deployed.AWS / "sql").glob("*.sql")}
    assert asked == files
    assert len(files) == 4


def test_a_bad_record_cannot_hold_up_its_shard_for_a_week() -> None:
    (mapping,) = resources("AWS::Lambda::EventSourceMapping").values()
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 0 < mapping["MaximumRetryAttempts"] <= 10
    assert 0 < mapping["MaximumRecordAgeInSeconds"] <= 86_400
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    (asynchronous,) = resources("AWS::Lambda::EventInvokeConfig").values()
    (queue,) = resources("AWS::SQS::Queue")
    for one in (mapping, asynchronous):
        assert text_of(one["DestinationConfig"]["OnFailure"]["Destination"]) == f"<{queue}.Arn>"


def test_every_log_group_forgets() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert len(groups) == 6
    assert {one["RetentionInDays"] for one in groups.values()} == {30}


def test_flink_is_off_unless_asked_for() -> None:
    template = deployed.template()
    assert template["Parameters"]["Engine"]["Default"] == "host"
    for name, one in template["Resources"].items():
        is_flink = one["Type"].startswith("AWS::KinesisAnalyticsV2")
        assert (one.get("Condition") == "OnFlink") == is_flink, name
    assert template["Resources"]["EngineHost"]["Condition"] == "OnHost"


def user_data() -> dict[str, str]:
    return {
        name: text_of(one["LaunchTemplateData"]["UserData"])
        for name, one in resources("AWS::EC2::LaunchTemplate").items()
    }


def test_user_data_is_short_enough_and_a_script_that_a_shell_understands(tmp_path: Path) -> None:
    assert len(user_data()) == 2
    for text in user_data().values():
        assert len(text.encode()) <= USER_DATA_BYTES
        script = tmp_path / "script.sh"
        script.write_text(text)
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_user_data_writes_the_files_of_the_repository(tmp_path: Path) -> None:
    written: dict[str, str] = {}
    for text in user_data().values():
        documents = re.findall(
            r"^cat > (\S+) <<'END_OF_FILE'\n(.*?)^END_OF_FILE$", text, re.MULTILINE | re.DOTALL
        )
        written |= {Path(path).name: body for path, body in documents}
    kept = {
        file.name: file.read_text()
        for folder in (deployed.AWS, deployed.AWS / "host")
        for file in folder.iterdir()
        if file.is_file()
    }
    kept["oddlot"] = kept["oddlot.logrotate"]
    assert {"agent.json", "acmeco.toml", "copy_archive.py"} < written.keys()
    assert len(written) == 10
    for name, body in written.items():
        assert body == kept[name], name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = [*(deployed.AWS / "host").glob("*.service"), *(deployed.AWS / "host").glob("*.timer")]
    assert len(units) == 5
    for unit in units:
        # The program is not installed there; that it is at all is asked of what is.
        text = re.sub(r"/opt/oddlot/bin/\w+", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in units)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_page_of_costs_is_what_the_program_prints() -> None:
    printed = subprocess.run(
        [sys.executable, str(deployed.AWS / "costs.py")], check=True, capture_output=True, text=True
    )
    assert printed.stdout in (tree.ROOT / "docs" / "explanation" / "aws.md").read_text()
