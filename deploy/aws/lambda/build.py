"""Writes the Lambda function's zip: the same bytes from the same sources, on any machine."""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "src"
HANDLER = "oddlot.aws.handler"
# Lambda's Python has these; a zip with its own would be 17 MB.
IN_LAMBDA = {"boto3", "botocore"}
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_READABLE = 0o100644 << 16
_UNIX = 3


def find_modules(handler: str = HANDLER) -> dict[str, bytes]:
    """Find what a module imports of Oddlot, with what that imports; content by path in the zip.

    Raises:
        SystemExit: something of it imports what is neither Python's nor Lambda's own.
    """
    found: dict[str, bytes] = {}
    waiting = [handler]
    while waiting:
        name = waiting.pop()
        file = _find_file(name)
        if file is None:  # a name in a module, not a module
            continue
        path = file.relative_to(SOURCES).as_posix()
        if path in found:
            continue
        # A checkout of Windows ends lines otherwise.
        found[path] = file.read_bytes().replace(b"\r\n", b"\n")
        parts = name.split(".")
        waiting += [".".join(parts[:end]) for end in range(1, len(parts))]
        for line, module in _find_imports(found[path]):
            top = module.partition(".")[0]
            if top == "oddlot":
                waiting.append(module)
            elif top not in sys.stdlib_module_names | IN_LAMBDA:
                raise SystemExit(f"{path}:{line}: the function must not import {top}")
    return dict(sorted(found.items()))


def write_zip(to: Path, files: dict[str, bytes]) -> None:
    """Write a zip; not compressed, because each version of zlib compresses its own way."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _FIRST_DATE)
            entry.external_attr = _READABLE
            entry.create_system = _UNIX
            archive.writestr(entry, content)


def write_folder(to: Path, files: dict[str, bytes]) -> None:
    """Write the files as Lambda unpacks them."""
    for path, content in files.items():
        file = to / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _find_file(module: str) -> Path | None:
    place = SOURCES.joinpath(*module.split("."))
    for file in (place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _find_imports(source: bytes) -> list[tuple[int, str]]:
    """Find the modules that a source imports anywhere, and names that may be modules."""
    imports: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            imports.append((node.lineno, module))
            imports += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return imports


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--out", type=Path, default=Path("oddlot-lambda.zip"), help="the zip")
    reader.add_argument("--unpacked", type=Path, help="a folder for the files, instead of a zip")
    asked = reader.parse_args()
    files = find_modules()
    if asked.unpacked:
        write_folder(asked.unpacked, files)
        print(f"{asked.unpacked}: {len(files)} files")
        return
    write_zip(asked.out, files)
    content = asked.out.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    print(f"{asked.out}: {len(files)} files, {len(content):,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
