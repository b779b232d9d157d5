"""Pages of the documentation: each link leads to a file and a heading, and the site's navigation has every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_run import PROJECT

TOP = [PROJECT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES = sorted([*TOP, *(PROJECT / "docs").glob("*.md"), *PROJECT.glob("*/README.md")])
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.M | re.S)
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def list_anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for path, anchor in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target = page.parent / path if path else page
        assert target.exists(), f"there is no {path}"
        assert not anchor or anchor in list_anchors(target), f"{path or page.name} has no heading {anchor}"


def test_the_navigation_has_every_page() -> None:
    navigation = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2].partition("\n\n")[0]
    pages = {page.name for page in [*TOP, *(PROJECT / "docs").glob("*.md")]}
    assert set(re.findall(r"(\w+\.md)$", navigation, re.M)) == pages
