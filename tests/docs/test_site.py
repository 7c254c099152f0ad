"""The site: it builds without a warning, its links lead somewhere, and every how-to has a picture that can be read.

Links of pages that are no part of the site (README.md, those of bundles and datasets) are followed here as well. Of links to
elsewhere the form alone is looked at: no test depends on another's server.
"""

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .pages import PAGES, ROOT

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
HOW_TO = [page for page in PAGES if page.startswith("docs/how-to/")]


def prose(page: str) -> str:
    """A page without its blocks of code and what stands in backticks."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: str) -> list[str]:
    return [match[3] for match in _LINK.finditer(prose(page))]


def pictures(page: str) -> list[tuple[str, str]]:
    """Words in place of each picture, and its file."""
    return [(match[2], match[3]) for match in _LINK.finditer(prose(page)) if match[1]]


def anchors(path: Path) -> set[str]:
    """Of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def fault(page: str, link: str) -> str | None:
    """What is wrong with a link, if anything is."""
    parts = urlsplit(link)
    if parts.scheme or link.startswith("//"):
        good = parts.scheme == "https" and re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)
        return None if good and not re.search(r"[.,;:]$", link) else "expected https://host/…"
    target = (ROOT / page).parent / unquote(parts.path) if parts.path else ROOT / page
    if not target.exists():
        return f"no file {parts.path}"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in anchors(target):
        return f"no heading #{parts.fragment}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    faults = {link: wrong for link in links(page) if (wrong := fault(page, link))}
    assert not faults


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = "docs/how-to/train.md"
    assert fault(page, "too-slow.md") is None
    assert fault(page, "#recipes") is None
    assert fault(page, "../methods/kdas.md#in-8-bits") is None
    for link in (
        "to-slow.md",
        "#receipts",
        "../methods/kdas.md#in-9-bits",
        "http://monai.io",
        "https://monai",
        "https://monai.io.",
    ):
        assert fault(page, link), link


def test_what_is_said_of_others_names_a_version():
    """Links of the comparison to code on GitHub are of a tag, a commit, an issue or a pull request: a branch moves."""
    found = [link for link in links("docs/explanation/comparison.md") if urlsplit(link).netloc == "github.com"]
    assert len(found) >= 10
    fixed = r"/[^/]+/[^/]+/(releases/tag/.+|issues/\d+|pull/\d+|(tree|blob)/(v?\d+(\.\d+)+|[0-9a-f]{40})(/.*)?)"
    names_alone = {"https://github.com/Project-MONAI/model-zoo"}
    assert [link for link in found if not re.fullmatch(fixed, urlsplit(link).path) and link not in names_alone] == []


@pytest.mark.parametrize("page", HOW_TO)
def test_every_how_to_has_a_picture_and_words_for_it(page):
    assert pictures(page)
    for words, file in pictures(page):
        assert len(words.split()) >= 5, f"{file}: what is seen there, for those who do not see it"
        assert ((ROOT / page).parent / file).stat().st_size < 200 * 1024, file


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_diagram_can_be_read():
    """Its text is text, contrasts by WCAG's 4.5 with what is behind it on a light and on a dark page, and loads nothing."""
    source = (ROOT / "docs/images/concepts.svg").read_text(encoding="utf-8")
    svg = ET.fromstring(source)
    name = "{http://www.w3.org/2000/svg}"
    assert svg.get("role") == "img"
    assert {svg.find(f"{name}{tag}").get("id") for tag in ("title", "desc")} == set(svg.get("aria-labelledby").split())
    assert len(svg.findall(f".//{name}text")) > 30
    assert not re.search(r"<image|<script|@import|href=|url\((?!#)", source)
    light, dark = source.split("@media")
    for style in (light, dark):
        fills = dict(re.findall(r"([.\w]+) \{ fill: (#[0-9a-f]{6})", style))
        assert {"text", ".word", ".ladder", ".page", ".box", ".main"} <= fills.keys()
        behind = {"text": (".page", ".box", ".main"), ".word": (".page",), ".ladder": (".page",)}
        for front, backs in behind.items():
            for back in backs:
                lower, higher = sorted((_luminance(fills[front]), _luminance(fills[back])))
                assert (higher + 0.05) / (lower + 0.05) >= 4.5, (front, back)


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="`make docs` installs MkDocs")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list((tmp_path / "site").rglob("*.py"))
