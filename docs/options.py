"""Writes the tables of options into the pages of docs, from what `--help` says: `python3 dev.py docs`.

A page says where a table goes, and of which command and which of its panels:

    <!-- options: train vae, Model -->
    <!-- end -->
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts.help import HelpEntry
from rich.console import Console

from ganvas.cli.app import app
from ganvas.cli.help import HelpFormatter

DOCS = Path(__file__).resolve().parent
TABLE = re.compile(r"(<!-- options: ([\w -]+), ([\w ,-]+) -->\n).*?(<!-- end -->)", re.S)
CONSOLE = Console(width=100_000)


def option_table(command: str, panel: str) -> str:
    """One panel of a command's help as a Markdown table."""
    formatter, words = HelpFormatter(), command.split()
    formatter.describe_command(app, words)
    panels = {group.name: found for group, found in app._assemble_help_panels(words, "markdown")}
    rows = [table_row(entry) for entry in formatter.visible_entries(panels[panel].entries)]
    return "\n".join(["| option | default | |", "|---|---|---|", *rows, ""])


def table_row(entry: HelpEntry) -> str:
    name = " ".join(entry.display_labels_with_metavar if not entry.choices else entry.display_labels)
    choices = f" ({', '.join(f'`{choice}`' for choice in entry.choices)})" if entry.choices else ""
    default = f"`{entry.default}`" if entry.default is not None else ""
    return f"| `{name}` | {default} | {plain_text(entry.description)}{choices} |"


def plain_text(description: Any) -> str:
    """A description without colours, on one line, fit for a table's cell."""
    with CONSOLE.capture() as captured:
        CONSOLE.print(description or "", end="", markup=False, highlight=False)
    return " ".join(captured.get().split()).replace("|", "\\|")


def with_tables(page: str) -> str:
    """A page with its tables as they should be today."""
    return TABLE.sub(lambda found: found[1] + "\n" + option_table(found[2], found[3]) + "\n" + found[4], page)


def outdated() -> Iterator[tuple[Path, str]]:
    """The pages whose tables are not today's, with what they should hold."""
    for file in sorted(DOCS.rglob("*.md")):
        page = file.read_text(encoding="utf-8")
        if page != (updated := with_tables(page)):
            yield file, updated


if __name__ == "__main__":
    for file, page in outdated():
        file.write_text(page, encoding="utf-8")
        print(file, file=sys.stderr)
