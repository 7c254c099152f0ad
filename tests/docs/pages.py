"""The commands of the documentation: README.md, docs, and what lies beside the bundles and the recipes of datasets."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("README.md", "docs/**/*.md", "bundles/*/docs/README.md", "data/*/README.md", "CONTRIBUTING.md")
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    """A fenced block of bash, or the one command of a line ``* **Command:** `…` ``."""

    page: str
    heading: str  # the nearest one above
    number: int  # of the line of the page that holds the first command
    commands: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    """What a page has to type, in order; a command that goes on after a backslash is one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    pattern = r"^( *)```bash\n(.*?)^ *```$|^\* \*\*Command:\*\* `([^`]+)`"
    found = []
    for match in re.finditer(pattern, text, flags=re.DOTALL | re.MULTILINE):
        headings = re.findall(
            r"^#+ (.+)$", re.sub(r"```.*?```", "", text[: match.start()], flags=re.DOTALL), re.MULTILINE
        )
        typed = match[3] or textwrap.dedent(match[2])
        commands = re.findall(r"(?:.*\\\n)*.+", typed)
        found.append(Block(page, headings[-1], text[: match.start()].count("\n") + 2 - bool(match[3]), tuple(commands)))
    return found


def words(command: str) -> str:
    """A command without its comment and the spaces that mean nothing."""
    return " ".join(re.sub(r"\s# .*|\\\n", " ", command).split())
