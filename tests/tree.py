"""The project's files, as the rules about them see them."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = ("src", "tests", "bench", "docs", "deploy")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is or would be tracked, relative to ROOT."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    else:  # an unpacked archive: everything but caches and environments
        found = [file.relative_to(ROOT) for file in ROOT.rglob("*")]
        found = [file for file in found if not any(map(_is_litter, file.parts))]
    return tuple(sorted({file for file in found if (ROOT / file).is_file()}))


def modules() -> list[Path]:
    """Every Python file, relative to ROOT."""
    return [file for file in files() if file.suffix == ".py"]


def pages() -> list[Path]:
    """Every Markdown file, relative to ROOT."""
    return [file for file in files() if file.suffix == ".md"]


def read(file: Path) -> str:
    """The text of a file; of one that is not UTF-8, nothing."""
    try:
        return (ROOT / file).read_bytes().decode()
    except UnicodeDecodeError:
        return ""


@cache
def parse(file: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(read(file), str(file))


def _is_litter(part: str) -> bool:
    return part in {"__pycache__", "build", "dist"} or (part.startswith(".") and part != ".ci")
