"""SQL files as statements, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddlot.engine.flink import home, statements, submit
from oddlot.errors import ConfigError


def test_a_semicolon_in_a_text_a_name_or_a_comment_ends_nothing() -> None:
    text = "SELECT 'a;b''c;' AS `d;e`; -- f;g\n/* h;i */ SELECT 1 - 2;\n\n;"
    assert statements.split(text) == ["SELECT 'a;b''c;' AS `d;e`", "SELECT 1 - 2"]


@pytest.mark.parametrize("name", statements.names())
def test_every_file_that_ships_is_one_statement_that_begins_with_why(name: str) -> None:
    file = statements.find(name)
    assert file.read_text().startswith("-- ")
    (statement,) = statements.read([file])
    assert statement.startswith(("CREATE TABLE", "INSERT INTO"))
    assert "aws-lambda" not in statement


def test_an_option_is_set_behind_the_statement_that_makes_its_table() -> None:
    made = ["CREATE TABLE orders (a INT) WITH ('x' = 'y')", "INSERT INTO b SELECT a FROM orders"]
    changed = statements.override(made, {"orders.path": "it's here"})
    assert changed[1] == "ALTER TABLE orders SET ('path' = 'it''s here')"
    assert [changed[0], changed[2]] == made


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("alerts.path", "must name a table that the files make; got alerts"),
        ("orders", "must be TABLE.OPTION=VALUE; got 'orders'"),
        ("orders.path' = '1');--", "must be TABLE.OPTION=VALUE"),
        ("x y.path", "must be TABLE.OPTION=VALUE"),
    ],
)
def test_a_wrong_option_is_refused(option: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        statements.override(["CREATE TABLE orders (a INT)"], {option: "z"})


def test_an_unknown_file_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"nothing: must be a \.sql file or one of: alerts_files"):
        statements.find("nothing")
    with pytest.raises(ConfigError, match=r"mine\.sql: cannot be read: No such file"):
        statements.read([statements.find("mine.sql")])


def test_a_missing_connector_is_named_with_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(home.PLACE, str(tmp_path))
    wanted = submit.jars(statements.read([statements.find("orders_kafka")]))
    assert wanted == ["flink-sql-connector-kafka-"]
    with pytest.raises(ConfigError, match=r"connectors: must have flink-sql-connector-kafka-VERS"):
        home.find_jar(wanted[0])


def test_flink_that_is_not_installed_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(home.PLACE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="install it: oddlot flink install"):
        home.find_home()


def test_an_environment_is_not_installed_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ConfigError, match="must be empty, or an environment that oddlot made"):
        home.install(tmp_path, print)
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (
            ["x", "Caused by: a.ValidationException: Could not find any factory for identifier"
             " 'aws-lambda' that implements"],
            "a.ValidationException: Could not find any factory for identifier 'aws-lambda' that"
            " implements (a connector's jar is missing)",
        ),
        ([], "nothing said"),
        (["ValueError: no"], "ValueError: no"),
    ],
)  # fmt: skip
def test_the_cause_of_a_failed_job_is_one_line(talk: list[str], said: str) -> None:
    assert submit.first_cause(talk) == said


@pytest.mark.parametrize("url", ["localhost:8081", "https://127.0.0.1:8081", "http://127.0.0.1"])
def test_a_wrong_address_of_a_cluster_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be like http://127\.0\.0\.1:8081"):
        submit.cluster_settings(url, home.Home(Path("python"), Path("flink"), Path("java")))
