"""One HTML page that needs nothing else: pictures are inside, and nothing is fetched."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from . import chart as rivals_chart
from .environment.contenders import OURS
from .report import (
    HEADINGS,
    NUMBERS,
    PACKING,
    Section,
    absences,
    method,
    packing_rows,
    sections,
    settings_of_contenders,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
tr.ours { background: #e9f1fb }
code, pre { background: #f3f3f3; font-size: 13px }
pre { padding: .6rem; overflow-x: auto }
img { max-width: 100% }
"""


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    machine = result["machine"]
    heading = f"fastdata beside others on {machine['cpu']}, {machine['usable_cores']} cores"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(heading)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(heading)}</h1>",
        f"<p>Measured {html.escape(result['created'])}. All of it again:</p>",
        command(result["command"]),
        *body(result),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def body(result: dict[str, Any]) -> Iterator[str]:
    """Tables, packing, absences, settings and method."""
    for section in sections(result):
        yield from of_section(section)
    if packing := packing_rows(result):
        yield "<h2>Making the formats</h2>"
        yield table(PACKING, packing, slice(2, None))
    for heading, lines in (
        ("Not installed", absences(result)),
        ("How each was set up", settings_of_contenders(result)),
        ("How it was measured", method(result)),
    ):
        if lines:
            yield f"<h2>{heading}</h2>"
            yield bullets(lines)


def of_section(section: Section) -> Iterator[str]:
    """One table with its picture and its command."""
    yield f"<h2>{html.escape(section.title)}</h2>"
    yield table(HEADINGS, section.rows, NUMBERS)
    yield bullets(section.remarks)
    if section.table["runs"]:
        picture = base64.b64encode(rivals_chart.png(section.table)).decode("ascii")
        words = html.escape(f"Bars of {section.title}")
        yield f'<p><img alt="{words}" src="data:image/png;base64,{picture}"></p>'
    yield command(section.command)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: slice) -> str:
    """A table whose cells in ``numbers`` are aligned to the right; fastdata's rows stand out."""
    columns = range(len(headings))[numbers]
    lines = ["<table><tr>", *(f"<th>{text(cell)}</th>" for cell in headings), "</tr>"]
    for row in rows:
        lines.append('<tr class="ours">' if row[0].startswith(f"`{OURS}") else "<tr>")
        for i, cell in enumerate(row):
            lines.append(f"<td{' class=n' if i in columns else ''}>{text(cell)}</td>")
        lines.append("</tr>")
    return "".join([*lines, "</table>"])


def bullets(lines: Sequence[str]) -> str:
    """A list."""
    return "".join(["<ul>", *(f"<li>{text(line)}</li>" for line in lines), "</ul>"])


def command(words: str) -> str:
    """A command to copy."""
    return f"<pre>{html.escape(words)}</pre>"


def text(words: str) -> str:
    """Escaped, with Markdown's backquotes as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(words))
