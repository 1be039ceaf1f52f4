"""An agent.json is read as it is: each option is used, explained or named as unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.flows import load, make_flow
from agent.known_options import STEPS, SYSLOG, TOP
from oddlot.agent import config
from oddlot.agent.flows import Flow
from oddlot.errors import ConfigError


def refusal(flow: dict[str, Any], **top: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flow, **top)
    message = str(caught.value)
    assert "\n" not in message
    return message.partition("agent.json: ")[2]


def test_an_unknown_option_is_named_with_the_nearest_and_stops_nothing() -> None:
    step = {**STEPS[1], "delimeter": ";"}
    flow = {"initialPostion": "START_OF_FILE", "dataProcessingOptions": [step]}
    chosen = load(flow, maxSendingThred=4)
    assert [line.partition("agent.json: ")[2] for line in chosen.unknown] == [
        "maxSendingThred: is no option (did you mean maxSendingThreads?)",
        "flow 1: initialPostion: is no option (did you mean initialPosition?)",
        "flow 1: dataProcessingOptions 1: delimeter: is no option (did you mean delimiter?)",
    ]


def test_numbers_and_truths_may_be_texts_as_in_many_files_of_the_original() -> None:
    chosen = load({"maxBufferAgeMillis": "1000"}, **{"cloudwatch.emitMetrics": "false"})
    assert chosen.flows[0].buffer_age_us == 1_000_000
    assert not chosen.options.emits_metrics


def test_a_null_is_as_if_nothing_was_said() -> None:
    assert load({"skipHeaderLines": None}).flows[0].options.skip_header_lines == 0


def test_comments_are_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(
        '{ # the shop\n "flows": [ // one\n {"filePattern": "/a b//b#c/*.log", /* two\n lines */'
        ' "kinesisStream": "orders"}]}'
    )
    assert config.load(file).flows[0].patterns == ("/a b/b#c/*.log",)


def test_flows_in_agent_d_come_after_those_of_the_file(tmp_path: Path) -> None:
    flow = {"filePattern": "a", "kinesisStream": "orders"}
    (tmp_path / "agent.json").write_text(json.dumps({"flows": [flow]}))
    more = tmp_path / "agent.d"
    more.mkdir()
    (more / "b.json").write_text(json.dumps({"flows": [{**flow, "filePattern": "b"}], "x": 1}))
    (more / "a.json").write_text(json.dumps({"flows": [{**flow, "filePattern": "c"}]}))
    (more / "a.txt").write_text("not read")
    chosen = config.load(tmp_path / "agent.json")
    assert [Path(flow.patterns[0]).name for flow in chosen.flows] == ["a", "c", "b"]
    assert len(chosen.unknown) == 1
    assert "agent.d/b.json: key must be flows; got 'x'" in chosen.unknown[0]


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ({"kinesisStream": ""}, "flow 1: kinesisStream or deliveryStream must be the name of a"),
        ({"deliveryStream": "d", "kinesisStream": "k"}, "flow 1: kinesisStream or deliveryStream"),
        ({"filePattern": ""}, "flow 1: filePattern must be a path or a list of paths; got nothing"),
        ({"filePattern": []}, "flow 1: filePattern must be a path or a list of paths; got nothing"),
        ({"filePattern": 5}, "flow 1: filePattern must be a text or a list of texts; got 5"),
        (
            {"partitionKeyOption": "RANDM"},
            "flow 1: partitionKeyOption must be one of: RANDOM, DETERMINISTIC; got 'RANDM' "
            "(did you mean RANDOM?)",
        ),
        (
            {"maxBufferAgeMillis": 999},
            "flow 1: maxBufferAgeMillis must be a whole number at least 1000 and at most 900000; "
            "got 999",
        ),
        ({"maxBufferAgeMillis": "soon"}, "flow 1: maxBufferAgeMillis must be a whole number at"),
        (
            {"dataProcessingOptions": {"optionName": "SINGLELINE"}},
            "flow 1: dataProcessingOptions must be a list, [{...}]; got a table",
        ),
        (
            {"dataProcessingOptions": [{"optionName": "USINGPLUGGIN"}]},
            "flow 1: dataProcessingOptions 1: optionName must be one of: SINGLELINE, CSVTOJSON, ",
        ),
        (
            {"dataProcessingOptions": [{"optionName": "CSVTOJSON"}]},
            "flow 1: dataProcessingOptions 1: customFieldNames must be a list of names; got",
        ),
        (
            {"dataProcessingOptions": [{"optionName": "LOGTOJSON"}]},
            "flow 1: dataProcessingOptions 1: logFormat must be one of: COMMONAPACHELOG",
        ),
        (
            {"dataProcessingOptions": [{**SYSLOG, "matchPattern": "(a)(b"}]},
            "flow 1: dataProcessingOptions 1: matchPattern must be a regular expression; got "
            "'(a)(b': missing ), unterminated subpattern at position 3",
        ),
        (
            {"dataProcessingOptions": [{**SYSLOG, "matchPattern": "(a)"}]},
            "flow 1: dataProcessingOptions 1: customFieldNames must come with matchPattern",
        ),
        (
            {
                "dataProcessingOptions": [
                    {
                        "optionName": "LOGTOJSON",
                        "logFormat": "SYSLOG",
                        "matchPattern": "(a)",
                        "customFieldNames": ["a", "b"],
                    }
                ]
            },
            "flow 1: dataProcessingOptions 1: matchPattern must have a group ( ) for each of the 2",
        ),
        (
            {"dataProcessingOptions": [{**SYSLOG, "customFieldNames": ["a"] * 6}]},
            "flow 1: dataProcessingOptions 1: customFieldNames must be 5 names at most for SYSLOG",
        ),
        (
            {
                "dataProcessingOptions": [
                    {**STEPS[1], "delimiter": "\\s+", "csvMode": "rfc4180"},
                ]
            },
            "flow 1: dataProcessingOptions 1: delimiter must be one character where csvMode is rfc",
        ),
        (
            {"dataProcessingOptions": [{**STEPS[1], "delimiter": "x*"}]},
            "flow 1: dataProcessingOptions 1: delimiter must not fit nothing; got 'x*'",
        ),
        ({"multiLineStartPattern": "[a"}, "flow 1: multiLineStartPattern must be a regular"),
        (
            {"multiLineStartPattern": r"\p{Greek}"},
            "flow 1: multiLineStartPattern must be a regular",
        ),
        (
            {"deliveryStream": "d", "partitionKeyField": "a"},
            "flow 1: partitionKeyField must be left out: Firehose has no keys; got it",
        ),
        ({"deliveryStream": "d", "aggregation": "kpl"}, "flow 1: aggregation must be ndjson for"),
        (
            {"deliveryStream": "d", "maxRecordSizeBytes": 1_024_001},
            "flow 1: maxRecordSizeBytes must be at most 1024000 for Firehose; got 1024001",
        ),
        (
            {"partitionKeyField": "a", "partitionKeyPattern": "a"},
            "flow 1: partitionKeyField or partitionKeyPattern must be left out; got both",
        ),
        (
            {"addFields": ["hostname"]},
            "flow 1: addFields must be a list or a table of: host, path, offset, recordId; got",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flow: dict[str, Any], expected: str) -> None:
    assert refusal(flow).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: must be JSON; got: Expecting value at column 1"),
        ("[]", "must be a table {...}; got"),
        ('{"flows": [],\n"flows": []}', "flows must be said once; got it twice"),
        ("{}", "flows must be a list of at least one flow; got nothing"),
        ('{"flows": {}}', "flows must be a list; got a table"),
        ('{"flows": [5]}', "flow 1: must be a table; got 5"),
        (
            r'{"flows": [{"matchPattern": "\d"}]}',
            r"line 1: must be JSON; got: Invalid \escape at column 30 "
            r"(in a regular expression write \\ for each \)",
        ),
        (
            '{"flows": [{"filePattern": "a", "kinesisStream": "s"}, '
            '{"filePattern": "a", "kinesisStream": "s"}]}',
            "flow 2: filePattern and stream must differ from the others'; got kinesis:s:a twice",
        ),
        ("[" * 100_000, "must be JSON; got brackets too deep to read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "agent.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert str(caught.value).startswith(f"{file}: {expected}")


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; expected an agent\.json"):
        config.load(tmp_path / "agent.json")
    (tmp_path / "agent.json").write_bytes(b"{\xff}")
    with pytest.raises(ConfigError, match="must be UTF-8; got a byte at offset 1"):
        config.load(tmp_path / "agent.json")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    ("written", "endpoint", "region"),
    [
        ("", "", "us-east-1"),
        ("kinesis.eu-west-1.amazonaws.com", "https://kinesis.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://kinesis.cn-north-1.amazonaws.com.cn", None, "cn-north-1"),
        ("https://kinesis-fips.us-gov-west-1.amazonaws.com", None, "us-gov-west-1"),
        ("https://vpce-1.kinesis.ap-southeast-2.vpce.amazonaws.com", None, "ap-southeast-2"),
        ("http://127.0.0.1:14567", None, "us-east-1"),
    ],
)
def test_the_address_says_the_region(written: str, endpoint: str | None, region: str) -> None:
    access = load({}, **{"kinesis.endpoint": written}).flows[0].access
    assert access.endpoint == (written if endpoint is None else endpoint)
    assert access.region == region


def test_the_region_may_be_said_apart() -> None:
    top = {"kinesis.endpoint": "http://127.0.0.1:1", "kinesis.region": "eu-south-2"}
    assert load({}, **top).flows[0].access.region == "eu-south-2"


def test_credentials_are_used_and_never_shown() -> None:
    chosen = load({}, **TOP)
    access = chosen.flows[0].access
    assert (access.key_id, access.secret) == ("key", "hush")
    assert (access.role, access.external_id) == (TOP["assumeRoleARN"], "acmeco")
    assert access.sts_endpoint == "https://sts.amazonaws.com"
    for shown in (repr(chosen), str(chosen), config.describe(chosen), *chosen.cautions):
        assert "hush" not in shown
    assert "awsAccessKeyId and awsSecretAccessKey must come together" in refusal(
        {}, awsAccessKeyId="key"
    )


def limits(flow: Flow) -> tuple[int, int, int]:
    return flow.longest_record, flow.buffer_bytes, flow.buffer_records


def test_requests_and_records_keep_to_the_limits_of_each_service() -> None:
    assert limits(make_flow()) == (1 << 20, 5 << 20, 500)
    assert limits(make_flow(deliveryStream="d")) == (1000 << 10, 4 << 20, 500)
    large = make_flow(deliveryStream="d", maxBufferSizeBytes=5 << 20)
    assert large.buffer_bytes == 4 << 20
    assert make_flow(maxRecordSizeBytes=10 << 20).longest_line == 10 << 20


def test_packing_is_as_the_original_has_it_or_as_asked() -> None:
    assert make_flow().aggregation == "none"
    packed = make_flow(deliveryStream="d", aggregatedRecordSizeBytes=51_200)
    assert (packed.aggregation, packed.packed_bytes) == ("ndjson", 51_200)
    assert make_flow(aggregation="kpl").packed_bytes == 50_000
    chosen = load({"aggregatedRecordSizeBytes": 51_200})
    assert chosen.flows[0].aggregation == "none"
    assert "aggregatedRecordSizeBytes: has no meaning for Kinesis without" in chosen.cautions[0]
    assert load({"aggregatedRecordSizeBytes": 51_200, "aggregation": "kpl"}).cautions == ()


def test_state_is_beside_the_file_but_not_in_etc(tmp_path: Path) -> None:
    chosen = load({})
    assert chosen.state == chosen.folder / "agent-state"
    assert load({}, stateDirectory="/srv/state").state == Path("/srv/state")
    in_etc = msgspec.structs.replace(chosen, folder=Path("/etc/aws-kinesis"))
    assert in_etc.state == Path("/var/lib/oddlot-agent")


def test_metrics_go_where_the_file_says_or_nowhere() -> None:
    assert load({}).metrics_file is None
    assert str(load({}, **{"metrics.file": "-"}).metrics_file) == "-"
    chosen = load({}, **{"metrics.file": "m.log"})
    assert chosen.metrics_file == chosen.folder / "m.log"
    off = {"metrics.file": "m.log", "cloudwatch.emitMetrics": False}
    assert load({}, **off).metrics_file is None


def test_what_was_understood_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    pattern = str(tmp_path / "*.log")
    step = {**STEPS[1], "customFieldNames": ["a", "b"]}
    chosen = load(
        {
            "filePattern": pattern,
            "dataProcessingOptions": [step],
            "addFields": {"machine": "host"},
            "partitionKeyField": "b",
        }
    )
    (line,) = config.describe(chosen).splitlines()
    assert json.loads(line) == {
        "flow": f"kinesis:orders:{pattern}",
        "files": [pattern],
        "matching_now": 1,
        "begins_at": "end",
        "service": "kinesis",
        "stream": "orders",
        "region": "us-east-1",
        "endpoint": "",
        "steps": ["CSVTOJSON"],
        "key": "field b",
        "aggregation": "none",
        "state": str(chosen.state),
    }
    assert chosen.flows[0].added == {"machine": "host"}
    keys = [
        json.loads(config.describe(load(flow)))["key"]
        for flow in (
            {"deliveryStream": "d"},
            {"partitionKeyPattern": "a"},
            {"partitionKeyOption": "DETERMINISTIC"},
            {},
        )
    ]
    assert keys == [None, "pattern a", "deterministic", "random"]


def test_a_name_that_is_there_twice_and_a_secret_that_all_may_read_are_told(
    tmp_path: Path,
) -> None:
    chosen = load({"dataProcessingOptions": [{**STEPS[1], "customFieldNames": ["a", "a"]}]})
    assert ["'a' is there twice" in line for line in chosen.cautions] == [True]
    file = tmp_path / "agent.json"
    keys = {"awsAccessKeyId": "key", "awsSecretAccessKey": "hush"}
    flow = {"filePattern": "a", "kinesisStream": "orders"}
    file.write_text(json.dumps({**keys, "flows": [flow]}))
    file.chmod(0o600)
    assert config.load(file).cautions == ()
    file.chmod(0o644)
    assert ["holds a secret" in line for line in config.load(file).cautions] == [True]
