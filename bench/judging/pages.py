"""A page of which a script writes the parts between markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def fill(page: Path, parts: Mapping[str, str]) -> list[str]:
    """Write parts into a page, each between `<!-- name -->` and `<!-- end of name -->`.

    Args:
        page: a Markdown file; updated.
        parts: text by name; what the page has no marker for is left out.

    Returns:
        The names that the page has no marker for.
    """
    text = page.read_text("utf-8")
    missing = []
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not pattern.search(text):
            missing.append(name)
        escaped = part.replace("\\", r"\\")
        text = pattern.sub(rf"\1\n{escaped}\n\n\2", text)
    page.write_text(text, "utf-8")
    return missing
