"""Hooks of ``mkdocs.yml``: the site shows the pages as the repository has them, links and formulas included.

Pages link to files by their place in the repository. On the site ``docs/`` is the root; pages of the repository's root
join it, and every other file that a page links to lies there as it is.
"""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path, PurePosixPath

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
TOP_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")

_CODE = re.compile(r"^(```|~~~).*?^\1[ ]*$|(`+)(?!`).+?(?<!`)\2(?!`)", re.M | re.S)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_ROW = re.compile(r"^\|.*", re.M)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.S)


def find_links(markdown: str) -> list[re.Match[str]]:
    """Links to files, outside of code."""
    code = [match.span() for match in _CODE.finditer(markdown)]
    links = _LINK.finditer(markdown)
    return [link for link in links if not any(start <= link.start() < end for start, end in code)]


def repository_path(page: str, link: str) -> str:
    """The place in the repository of what a page (by its place there) links to."""
    return os.path.normpath(PurePosixPath(page).parent / link)


def site_path(path: str) -> str:
    """The place on the site of a file of the repository."""
    return path.removeprefix("docs/")


def source_of(file: File) -> str:
    """The place in the repository of one of the site's files."""
    return os.path.relpath(file.abs_src_path or "", ROOT)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the repository's root, and what pages link to outside of ``docs/``."""

    def add(path: str) -> None:
        if not files.get_file_from_path(path) and (ROOT / path).is_file():
            files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))

    for name in TOP_PAGES:
        add(name)
    for page in files.documentation_pages():
        for link in find_links(page.content_string):
            path = repository_path(source_of(page), link[1])
            if not path.startswith("docs/"):
                add(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between places of the repository into links between places of the site."""
    source = source_of(page.file)
    start = os.path.dirname(page.file.src_uri)
    for link in reversed(find_links(markdown)):
        target = os.path.relpath(site_path(repository_path(source, link[1])), start or ".")
        markdown = markdown[: link.start()] + target + markdown[link.end() :]
    # In tables GitHub wants \| for a bar within code, Python-Markdown a bare one.
    return _ROW.sub(lambda row: re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), row[0]), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Sets formulas as MathML, which browsers show without a script."""

    def set_formula(match: re.Match[str]) -> str:
        return convert(unescape(match[2]), display="block" if match[1] == "div" else "inline")

    return _FORMULA.sub(set_formula, html)
