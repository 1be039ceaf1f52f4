"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tree

PACKAGE = Path("src/oddlot")

# A module imports only from groups above its own, or from its own folder.
ORDER = (
    ("errors", "kernels", "endings"),
    ("schema",),
    ("durations",),
    ("engine.compiled",),
    ("detectors.contract",),
    ("statistics",),
    ("decode", "streams", "detectors"),
    ("notifiers",),
    ("alerts",),
    ("durable",),
    ("row_files", "tables", "arrow"),
    ("stored",),
    ("store", "archive", "alert_files", "arrow"),
    ("catalog",),
    ("sections",),
    ("config",),
    ("outbox",),
    ("delivery",),
    ("engine.admission", "engine.sources"),
    ("engine.event_time", "engine.alignment"),
    ("engine.scoring",),
    ("engine.embedded",),
    ("engine.checkpoint", "engine.ahead", "engine.warm"),
    ("engine.live",),
    ("engine.flink",),
    ("simulate", "replay"),
    ("findings", "inputs"),
    ("report",),
    ("detect", "watch", "described", "demo"),
    ("terminal",),
    ("agent",),
    ("aws", "web"),
    ("cli",),
    ("__main__",),
)
HEAVY = {
    *("boto3", "botocore", "duckdb", "jinja2", "llvmlite", "numba", "numpy", "openpyxl"),
    *("pyarrow", "rich", "starlette", "uvicorn", "zstandard"),
}
FORBIDDEN = {
    *("utils", "util", "common", "helpers", "helper", "base", "core", "manager", "factory"),
    *("impl", "process"),
}

MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:home|Users|root|work|workspace)/[\w.-]")
REGISTRY = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|crates|maven|golang|debian)[.](?:org|com|io)\b"
    r"|--(?:extra-)?index-url|\bartifactory\b",
    re.IGNORECASE,
)
# Another sentence begins: a capital after a full stop that ends no abbreviation.
NEXT_SENTENCE = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?]\s+[A-Z]")

every_module = pytest.mark.parametrize("file", tree.modules(), ids=str)


@pytest.mark.parametrize(
    "file", [file for file in tree.modules() if file.is_relative_to(PACKAGE)], ids=str
)
def test_a_module_imports_only_from_above_itself(file: Path) -> None:
    place, entry = _find_place(_module(file))
    for module, line in _imports(file):
        other_place, other_entry = _find_place(module)
        assert entry == other_entry != "" or other_place < place, (
            f"{file}:{line}: {entry or 'a package'} must import only from above itself; "
            f"got {module}"
        )


@every_module
def test_no_module_is_longer_than_400_lines(file: Path) -> None:
    length = len(tree.read(file).splitlines())
    assert length <= 400, "split it by idea"


@every_module
def test_a_module_says_in_one_sentence_what_it_is(file: Path) -> None:
    text = ast.get_docstring(tree.parse(file)) or ""
    if file.parts[0] == "bench":  # a script may go on with how to call it
        text = text.partition("\n\n")[0]
    assert text, "a module begins with a docstring"
    assert "\n\n" not in text, f"one sentence, no paragraphs; got {text!r}"
    assert text.endswith("."), f"a sentence ends with a full stop; got {text!r}"
    assert not NEXT_SENTENCE.search(text), f"one sentence; got {text!r}"


@every_module
def test_no_name_is_one_that_says_nothing(file: Path) -> None:
    names = [*file.with_suffix("").parts]
    names += [
        node.name
        for node in ast.walk(tree.parse(file))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for name in names:
        words = re.findall(r"[a-z0-9]+|[A-Z][a-z0-9]*", name)
        # A test's name is a sentence, and a sentence may use any word.
        if not name.startswith("test_"):
            assert not FORBIDDEN & {word.lower() for word in words}, f"{name} says nothing"


@every_module
def test_no_file_begins_with_an_underscore(file: Path) -> None:
    assert not file.name.startswith("_") or file.stem in ("__init__", "__main__")


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    assert not list(_find(MACHINE_PATH))


def test_no_tracked_file_names_a_package_registry() -> None:
    assert not list(_find(REGISTRY))


def test_the_top_level_has_at_most_twelve_entries() -> None:
    entries = {file.parts[0] for file in tree.files()}
    visible = sorted(entry for entry in entries if not entry.startswith("."))
    assert len(visible) <= 12, f"move something into a folder: {', '.join(visible)}"


def test_a_folder_past_ten_files_explains_itself() -> None:
    sizes = Counter(file.parent for file in tree.files() if file.parts[0] in tree.CODE)
    silent = [
        str(folder)
        for folder, size in sizes.items()
        if size > 10 and folder / "README.md" not in tree.files()
    ]
    assert not silent, "write a README.md of five lines"


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    page = tree.read(Path("docs/explanation/dependencies.md"))
    explained = {
        canonicalize_name(name) for name in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    }
    assert explained == {canonicalize_name(one.name) for one in _requirements()}


def test_every_dependency_has_a_lower_bound() -> None:
    for requirement in _requirements():
        assert any(one.operator == ">=" for one in requirement.specifier), str(requirement)


def test_the_lock_pins_every_dependency_with_hashes() -> None:
    lock = tree.read(Path("requirements.lock"))
    pins: dict[str, list[str]] = {}
    for pin in lock.replace("\\\n", " ").splitlines():
        match = re.match(r"([\w.-]+)==([\w.]+) .*--hash=sha256:[0-9a-f]{64}", pin)
        assert match, f"a pin with hashes is expected; got {pin[:80]!r}"
        pins.setdefault(canonicalize_name(match[1]), []).append(match[2])
    for requirement in _requirements():
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not locked; run `make lock`"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement}: {versions}"


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", tree.read(Path("CHANGELOG.md")), re.MULTILINE)
    assert headings[0] == "Unreleased"


@pytest.mark.skipif(not importlib.util.find_spec("oddlot.cli"), reason="there is no oddlot.cli yet")
def test_help_imports_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "oddlot", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "oddlot.cli" in imported
    assert not {name.partition(".")[0] for name in imported} & HEAVY


def _module(file: Path) -> str:
    parts = file.relative_to("src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _find_place(module: str) -> tuple[int, str]:
    """Return a module's place in ORDER and its entry there; -1 for a package that holds entries."""
    name = module.removeprefix("oddlot").lstrip(".")
    for place, group in enumerate(ORDER):
        for entry in group:
            if name == entry or name.startswith(f"{entry}."):
                return place, entry
    assert name in ("", "engine"), f"{module} has no place in ORDER (tests/test_rules.py) yet"
    return -1, ""


def _imports(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each module of Oddlot that a file imports anywhere, with the line."""
    known = {_module(other) for other in tree.modules() if other.is_relative_to(PACKAGE)}
    for node in ast.walk(tree.parse(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "oddlot":
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: import by the full name"
            if (node.module or "").partition(".")[0] == "oddlot":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    # `from oddlot import __version__` imports the empty package only.
                    if whole in known or node.module != "oddlot":
                        yield whole if whole in known else str(node.module), node.lineno


def _find(pattern: re.Pattern[str]) -> Iterator[str]:
    for file in tree.files():
        for number, line in enumerate(tree.read(file).splitlines(), 1):
            if match := pattern.search(line):
                yield f"{file}:{number}: {match[0]}"


def _requirements() -> list[Requirement]:
    project = tomllib.loads(tree.read(Path("pyproject.toml")))
    listed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    groups = (project["project"]["optional-dependencies"], project["dependency-groups"])
    for group in (group for table in groups for group in table.values()):
        listed += group
    return [Requirement(text) for text in listed]
