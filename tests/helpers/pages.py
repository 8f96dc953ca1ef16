"""Markdown pages: their code blocks, run in order, and their links and names.

Three HTML comments tell the tests what a reader need not see. ``<!-- given: photos, pairs -->`` at
the top of a page is what lies in the directory that its blocks run in ("own process" runs them in
one, as they change the library). Right above a block, ``<!-- not run: REASON -->`` leaves it out,
and with ``<!-- needs: MODULE -->`` it runs only if that is there. In a Python block
``EXPRESSION  # -> TEXT`` means that the expression's ``repr`` is that text.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from helpers.command import run

_MARK = re.compile(r"<!-- (given|not run|needs): (.+) -->")
_FENCE = re.compile(r"^```(\w*)$(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_EXPECTED = re.compile(r"# -> (.+)$")


class Block(NamedTuple):
    """A code block: language, text, the line of its first line, and what the comment above says."""

    language: str
    code: str
    line: int
    marks: dict[str, str]

    @property
    def runs(self) -> bool:
        """True where it is to run here."""
        if self.language not in ("python", "bash") or "not run" in self.marks:
            return False
        return "needs" not in self.marks or _is_installed(self.marks["needs"])


class Page:
    """A Markdown file.

    Attributes:
        path: of the file.
        text: all of it.
        prose: the text without its code blocks.
        given: what its blocks find in their directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")
        self.prose = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), self.text)
        found = [value for kind, value in _MARK.findall(self.text) if kind == "given"]
        self.given = {name.strip() for names in found for name in names.split(",")}

    @property
    def blocks(self) -> Iterator[Block]:
        """The code blocks, in order."""
        for match in _FENCE.finditer(self.text):
            before = self.text[: match.start()]
            above = before.rstrip("\n").rpartition("\n")[2]
            yield Block(match[1], match[2][1:], before.count("\n") + 2, dict(_MARK.findall(above)))

    @property
    def links(self) -> set[str]:
        """The targets of all links and pictures that lead to other files, or into this one."""
        found = set(_LINK.findall(self.prose))
        return {link for link in found if not re.match(r"[a-z]+:", link)}

    @property
    def anchors(self) -> set[str]:
        """What a link to a heading may name, as GitHub and MkDocs make it of the heading."""
        return {_anchor(heading) for heading in _HEADING.findall(self.prose)}

    @property
    def checked(self) -> str:
        """The text without the blocks that need what is not installed."""
        lacking = [block for block in self.blocks if "needs" in block.marks and not block.runs]
        text = _MARK.sub("", self.text)
        for block in lacking:
            text = text.replace(block.code, "")
        return text

    def run(self) -> None:
        """Run the blocks in the current directory, the Python ones in one namespace.

        Raises:
            AssertionError: or what they raise, with the page's lines in the traceback.
        """
        namespace: dict[str, Any] = {"__name__": "__main__", "_expect": _expect}
        for block in self.blocks:
            if not block.runs:
                continue
            code = _portable(block.code)
            if block.language == "python":
                exec(_compiled(code, self.path, block.line), namespace)
            elif commands := _own_commands(code):
                for words in commands:
                    assert run(*words) == 0, f"{self.path.name}:{block.line}: {words}"
            else:
                _run_shell(code, f"{self.path.name}:{block.line}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package that it lies in
        return False


def _portable(code: str) -> str:
    """The code for a machine without a GPU, if this is one."""
    import torch

    return code if torch.cuda.is_available() else code.replace('"cuda"', '"cpu"')


def _compiled(code: str, path: Path, first_line: int) -> Any:
    lines, tree = code.splitlines(), ast.parse(code)
    for node in tree.body:
        expected = _EXPECTED.search(lines[(node.end_lineno or 1) - 1])
        if expected and isinstance(node, ast.Expr):
            name = ast.Name("_expect", ast.Load())
            call = ast.Call(name, [node.value, ast.Constant(expected[1])], [])
            node.value = ast.fix_missing_locations(ast.copy_location(call, node))
    ast.increment_lineno(tree, first_line - 1)
    return compile(tree, str(path), "exec")


def _expect(value: Any, text: str) -> None:
    assert repr(value) == text


def _own_commands(code: str) -> list[list[str]]:
    """The arguments of each line, if all lines are calls of ``fastdata``: they can be run in this
    process, which has everything imported and compiled."""
    found = [shlex.split(line, comments=True) for line in code.splitlines()]
    found = [words for words in found if words]
    return [words[1:] for words in found] if all(w[0] == "fastdata" for w in found) else []


def _run_shell(code: str, where: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{where}: {done.stdout}\n{done.stderr}"


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


if __name__ == "__main__":
    Page(Path(sys.argv[1])).run()
