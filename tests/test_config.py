"""The TOML file becomes frozen records, or one line says what is wrong."""

from __future__ import annotations

import glob
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot import catalog, config
from oddlot.errors import ConfigError

WHOLE = """
[source]
type = "files"
path = "logs/*.csv"
format = "csv"
delimiter = ";"
encoding = "iso-8859-1"
dates = "month-first"
[columns]
quantity = "Qty"
[kinds]
return_prefixes = ["C", "R"]
[time]
lateness = "1m30s"
max_skew = "2d"
idle = "off"
[budget]
false_alerts_per_day = 3
[[detectors]]
type = "low_quantity"
below = 6
[[detectors]]
type = "quantity_spike"
[state]
path = "/var/lib/oddlot"
checkpoint_every = "500ms"
[archive]
path = "archive"
[alerts]
path = "found"
format = "csv"
"""


def read(text: str) -> config.Config:
    return config.from_text(text, "shop.toml", Path("/srv/shop"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_value_of_a_whole_file_arrives() -> None:
    shop = read(WHOLE)
    assert shop.stream.path == "/srv/shop/logs/*.csv"
    assert (shop.settings.format, shop.settings.delimiter) == ("csv", ";")
    assert (shop.settings.encoding, shop.settings.dates) == ("iso-8859-1", "month-first")
    assert shop.settings.columns == {"quantity": "Qty"}
    assert shop.settings.kinds.return_prefixes == ("C", "R")
    assert (shop.time.lateness_us, shop.time.max_skew_us) == (90_000_000, 172_800_000_000)
    assert shop.time.idle_us is None
    assert shop.budget.false_alerts_per_day == 3.0
    assert [type(detector).__name__ for detector in shop.detectors] == [
        "LowQuantity",
        "QuantitySpike",
    ]
    assert shop.detectors[0].below == 6
    assert (shop.state.path, shop.state.checkpoint_every_us) == ("/var/lib/oddlot", 500_000)
    assert shop.archive.path == "/srv/shop/archive"
    assert (shop.alerts.path, shop.alerts.format) == ("/srv/shop/found", "csv")


def test_an_empty_file_means_the_defaults() -> None:
    shop = read("")
    # Every test, and no rule.
    names = [type(detector).__module__.rpartition(".")[2] for detector in shop.detectors]
    assert tuple(names) == catalog.find_types("detectors", "ShopDetector")
    assert not any(detector.is_rule for detector in shop.detectors)
    assert shop.stream.path == "/srv/shop/logs"
    assert shop.time.lateness_us == 5_000_000
    assert shop.time.idle_us == 600_000_000
    assert shop.budget.false_alerts_per_day == 1.0
    assert shop.archive.path is None
    assert shop.alerts.format == "jsonl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tiem]", "shop.toml: key must be one of: source, columns, kinds, time, budget, state, "
         "archive, alerts, web, flink, detectors, channels; got 'tiem' (did you mean time?)"),
        ("time = 3", "shop.toml: time: must be a table; got 3"),
        ("[time]\nlatenes = '5s'", "shop.toml: time: key must be one of: lateness, max_skew, "
         "idle; got 'latenes' (did you mean lateness?)"),
        ("[time]\nlateness = '5x'", "shop.toml: time: lateness must be a duration such as "
         "500ms, 5s or 1h30m; got '5x'"),
        ("[time]\nlateness = 5", "shop.toml: time: lateness must be a duration such as "
         "500ms, 5s or 1h30m; got 5"),
        ("[time]\nlateness = 'off'", "shop.toml: time: lateness must be a duration such as "
         "500ms, 5s or 1h30m; got 'off'"),
        ("[time]\nidle = 'of'", "shop.toml: time: idle must be off or a duration such as "
         "500ms, 5s or 1h30m; got 'of'"),
        ("[time]\nmax_skew = '40000d'", "shop.toml: time: max_skew must be at most 36500d; "
         "got '40000d'"),
        ("[state]\ncheckpoint_every = '0s'", "shop.toml: state: checkpoint_every must be above "
         "0s; got '0s'"),
        ("[state]\npath = ''", "shop.toml: state: path must be a path; got ''"),
        ("[budget]\nfalse_alerts_per_day = 0", "shop.toml: budget: false_alerts_per_day must be "
         "a number above 0 and at most 1000000; got 0"),
        ("[budget]\nfalse_alerts_per_day = nan", "shop.toml: budget: false_alerts_per_day must "
         "be a number above 0 and at most 1000000; got nan"),
        ("[budget]\nfalse_alerts_per_day = true", "shop.toml: budget: false_alerts_per_day must "
         "be a number above 0 and at most 1000000; got true"),
        ("[source]\nformat = 'cvs'", "shop.toml: source: format must be one of: auto, csv, jsonl; "
         "got 'cvs' (did you mean csv?)"),
        ("[source]\ndelimiter = ';;'", "shop.toml: source: delimiter must be auto or one "
         "character; got ';;'"),
        ("[kinds]\nreturn_prefixes = 'C'", "shop.toml: kinds: return_prefixes must be a list of "
         "texts; got 'C'"),
        ("[columns]\nqty = 'Qty'", "shop.toml: columns: key must be one of: sku, quantity, time, "
         "invoice, price, customer, description, country, event; got 'qty'"),
        ("[columns]\nsku = 4", "shop.toml: columns: sku must be the name of a column; got 4"),
        ("detectors = 'low_quantity'", "shop.toml: detectors must be tables, each under "
         "[[detectors]]; got 'low_quantity'"),
        ("[detectors]\ntype = 'low_quantity'", "shop.toml: detectors must be tables, each under "
         "[[detectors]]; got a table"),
        ("[[detectors]]\ntype = 'low_quantity'\nbelow = 'ten'",
         "shop.toml: detector 1: below must be a whole number; got 'ten'"),
        ("[[detectors]]\ntype = 'low_quantity'\n[[detectors]]\ntype = 'low_quantity'",
         "shop.toml: detector 2: type must differ from detector 1; got 'low_quantity' twice"),
        ("a = ", "shop.toml: must be TOML; got: Invalid value (at end of document)"),
    ],
)  # fmt: skip
def test_an_error_says_place_expected_got_and_nearest(text: str, expected: str) -> None:
    assert refusal(text) == expected


def test_an_unknown_type_is_answered_with_the_files_of_the_folder() -> None:
    known = ", ".join(catalog.find_types("detectors"))
    assert refusal("[[detectors]]\ntype = 'quantity_spik'") == (
        f"shop.toml: detector 1: type must be one of: {known}; "
        "got 'quantity_spik' (did you mean quantity_spike?)"
    )
    assert refusal("[[detectors]]") == (
        f"shop.toml: detector 1: type must be one of: {known}; got nothing"
    )
    assert refusal("[source]\ntype = 'file'").endswith("got 'file' (did you mean files?)")


def test_a_part_of_the_budget_is_given_by_type() -> None:
    shop = read("[budget.weights]\nwrite_off = 3")
    assert shop.budget.weight("write_off", 1.0) == 3.0
    assert shop.budget.weight("new_sku", 0.5) == 0.5
    known = ", ".join(catalog.find_types("detectors"))
    assert refusal("[budget.weights]\nwriteoff = 2") == (
        f"shop.toml: budget: weights must name detectors: {known}; "
        "got 'writeoff' (did you mean write_off?)"
    )
    assert refusal("[budget.weights]\nwrite_off = 0").startswith("shop.toml: budget: weights")


@pytest.mark.parametrize("folder", ["detectors", "streams"])
def test_a_type_is_a_file_with_the_class_of_its_name(folder: str) -> None:
    known = catalog.find_types(folder)
    assert known
    assert "contract" not in known
    files = {file.stem for file in (Path(catalog.__file__).parent / folder).glob("*.py")}
    assert set(known) <= files


@pytest.mark.parametrize("name", catalog.find_types("detectors"))
def test_a_detector_is_built_with_its_defaults_and_tells_its_options(name: str) -> None:
    detector = catalog.build("detectors", {"type": name}, "shop.toml: detector 1")
    options = [field.encode_name for field in msgspec.structs.fields(detector)]
    with pytest.raises(ConfigError) as caught:
        catalog.build("detectors", {"type": name, "zzz": 1}, "shop.toml: detector 1")
    assert ", ".join(options) in str(caught.value)
    assert str(caught.value).startswith("shop.toml: detector 1: key must be ")


@pytest.mark.parametrize(
    ("text", "span_us"),
    [("7us", 7), ("0s", 0), ("5ms", 5_000), ("5m", 300_000_000), ("1h30m", 5_400_000_000),
     ("30d", 2_592_000_000_000), ("36500d", 3_153_600_000_000_000)],
)  # fmt: skip
def test_a_duration_is_the_sum_of_its_parts(text: str, span_us: int) -> None:
    assert config.parse_duration(text) == span_us


@pytest.mark.parametrize(
    "text",
    ["", " 5s", "5s\n", "5", "s", "-5s", "1.5h", "5s5s", "30m1h", "5S", "٣s", "1h 30m", "36501d",
     "9" * 400 + "d"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^must be [^\n]*$"):
        config.parse_duration(text)


@given(st.text(max_size=30))
def test_no_text_makes_the_config_fail_other_than_by_its_own_error(text: str) -> None:
    for toml in (text, f"[time]\n{text}", f"[[detectors]]\ntype = {text!r}"):
        try:
            read(toml)
        except ConfigError as error:
            assert "\n" not in str(error)


def test_settings_are_laid_over_the_file() -> None:
    shop = config.apply(
        read(WHOLE),
        [
            "time.lateness=10s",
            "budget.false_alerts_per_day=0.5",
            "columns.sku=123",
            "detectors.1.below=5",
            "detectors.low_quantity.window='2h'",
            "archive.path=old",
        ],
    )
    assert shop.time.lateness_us == 10_000_000
    assert shop.time.max_skew_us == 172_800_000_000
    assert shop.budget.false_alerts_per_day == 0.5
    assert shop.columns == {"quantity": "Qty", "sku": "123"}
    assert (shop.detectors[0].below, shop.detectors[0].window) == (5, "2h")
    assert shop.archive.path == "/srv/shop/old"
    assert shop.place == "shop.toml"
    only = config.apply(shop, ['detectors=[{type="low_quantity", below=4}]'])
    assert [detector.below for detector in only.detectors] == [4]


def test_settings_change_only_the_config_that_is_returned() -> None:
    shop = read(WHOLE)
    config.apply(shop, ["detectors.1.below=5", "source.path=elsewhere"])
    assert shop.detectors[0].below == 6
    assert read(WHOLE) == shop


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lateness", "--set lateness: must be key.sub=value; got 'lateness'"),
        ("time..x=1", "--set time..x=1: must be key.sub=value; got 'time..x=1'"),
        ("time.lateness=5x", "--set time.lateness=5x: time: lateness must be a duration such as "
         "500ms, 5s or 1h30m; got '5x'"),
        ("time.lateness=5", "--set time.lateness=5: time: lateness must be a duration such as "
         "500ms, 5s or 1h30m; got 5"),
        ("budget.false_alerts_per_day=many", "--set budget.false_alerts_per_day=many: budget: "
         "false_alerts_per_day must be a number above 0 and at most 1000000; got 'many'"),
        ("time.lateness.x=1", "--set time.lateness.x=1: x must belong to a table; got '1m30s'"),
        ("detectors.3.below=1", "--set detectors.3.below=1: detector must be 1 to 2 or one of: "
         "low_quantity, quantity_spike; got '3'"),
        ("detectors.low_quantit.below=1", "--set detectors.low_quantit.below=1: detector must be "
         "1 to 2 or one of: low_quantity, quantity_spike; got 'low_quantit' "
         "(did you mean low_quantity?)"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.apply(read(WHOLE), [setting])
    assert str(caught.value) == expected


def test_paths_in_a_file_start_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shop [1]"
    folder.mkdir()
    file = folder / "shop.toml"
    file.write_bytes(b"\xef\xbb\xbf[source]\r\npath = 'logs/*.csv'\r\n")
    (folder / "logs").mkdir()
    (folder / "logs" / "a.csv").touch()
    shop = config.load(file)
    assert shop.place == str(file)
    assert shop.state.path == str(folder / "state")
    assert glob.glob(shop.stream.path) == [str(folder / "logs" / "a.csv")]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[columns]\nsku = '\xa3'\n")
    for name, expected in [
        ("none.toml", "no such file; expected a config in TOML"),
        (".", "cannot be read: Is a directory"),
        ("latin.toml", "must be UTF-8; got byte 0xa3 at offset 17"),
    ]:
        with pytest.raises(ConfigError) as caught:
            config.load(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {expected}"


def test_importing_the_config_imports_nothing_heavy() -> None:
    script = (
        "import sys, oddlot.config; print(sorted({'numba', 'pyarrow', 'duckdb', 'rich',"
        " 'openpyxl'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
