"""The reference: a page for the public names of each room, and one for the command."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, is_typeddict

import fastdata
import fastdata.dali
import fastdata.sources.detect
import fastdata.transforms

#: Titles of the pages, in their order. A room that is not named here comes last, by its own name.
TITLES = {
    "datasets": "Datasets",
    "transforms": "Transforms",
    "loader": "The loader and its samplers",
    "sources": "Sources",
    "packing": "Packing",
    "core": "Fields",
    "inspection": "Looking at packs and at speed",
    "dali": "DALI",
    "errors": "Errors",
}
INTRODUCTION = """\
All public names. In the examples ``T`` is ``fastdata.transforms`` and ``np`` is ``numpy``; the
current directory has ``photos``, a folder of eight photographs in the classes ``cat`` and ``dog``,
and ``photos.pack``, made of it. They run in the tests.
"""
#: Classes of others: what fastdata's inherit from these is described elsewhere.
FOREIGN = "Dataset, DataLoader, Sampler, Sequence, BaseException, tuple, dict, object"


def public_names() -> dict[str, list[str]]:
    """By room the full names of what has an entry, rooms and names in the order of their pages."""
    names = [f"fastdata.{name}" for name in fastdata.__all__]
    names += [f"fastdata.transforms.{name}" for name in fastdata.transforms.__all__]
    names += [f"fastdata.dali.{name}" for name in fastdata.dali.__all__]
    names.append("fastdata.sources.detect.open_source")
    rooms: dict[str, list[str]] = {room: [] for room in TITLES}
    for name in names:
        module = str(getattr(value_of(name), "__module__", ""))
        if module.startswith("fastdata."):  # not the version, and no module
            rooms.setdefault(module.split(".")[1], []).append(name)
    return rooms


def value_of(name: str) -> object:
    """What has this name, such as ``fastdata.transforms.Resize``."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def write_reference(place: Path) -> list[str]:
    """Write all pages to ``place/reference``; returns their names for a table of contents."""
    folder = place / "reference"
    folder.mkdir(parents=True)
    rooms = public_names()
    parts = parts_of(rooms)
    pages = {room: page_of(room, names, parts[room]) for room, names in rooms.items()}
    pages = {"index": index_of(rooms), **pages, "command": command()}
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(text, "utf-8")
    return [f"reference/{name}" for name in pages]


def parts_of(rooms: dict[str, list[str]]) -> dict[str, list[str]]:
    """By room the full names of the classes that its public names take or give.

    Nobody imports these by name, but whoever reads a signature wants to know what they have.
    """
    seen = {value_of(name) for names in rooms.values() for name in names}
    parts: dict[str, list[str]] = {}
    for room, names in rooms.items():
        found = [part for name in names for part in classes_of(value_of(name))]
        new = [part for part in dict.fromkeys(found) if part not in seen]
        seen.update(new)
        parts[room] = [f"{part.__module__}.{part.__qualname__}" for part in new]
    return parts


def classes_of(value: Any) -> Iterator[type]:
    """fastdata's classes in the annotations of a function, or of a class and its members."""
    parts = [value]
    if inspect.isclass(value):
        parts = [part for part in value.__mro__ if is_own(part)]
        members = {name: member for part in reversed(parts) for name, member in vars(part).items()}
        parts += [function_of(member) for name, member in members.items() if is_shown(name)]
    for part in parts:
        if inspect.isclass(part) or inspect.isfunction(part):
            yield from classes_in(list(inspect.get_annotations(part, eval_str=True).values()))


def is_shown(name: str) -> bool:
    """Whether the entry of a class has its member of that name."""
    return name == "__init__" or not name.startswith("_")


def function_of(member: object) -> object:
    """The function behind a method or a property, whatever it is called by."""
    for attribute in ("__func__", "fget", "func"):
        member = getattr(member, attribute, member)
    return member


def classes_in(hint: Any) -> Iterator[type]:
    """fastdata's public classes anywhere in a type, such as in ``list[X] | None``."""
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from classes_in(part)
    if inspect.isclass(hint) and is_own(hint) and not hint.__name__.startswith("_"):
        yield hint


def is_own(value: type) -> bool:
    """Whether a class is fastdata's."""
    return value.__module__.startswith("fastdata.")


def title_of(room: str) -> str:
    """The heading of a room's page."""
    return TITLES.get(room, room.capitalize())


def heading(title: str, line: str = "=") -> str:
    """A heading in reStructuredText."""
    return f"{title}\n{line * len(title)}\n\n"


def index_of(rooms: dict[str, list[str]]) -> str:
    """The page with a line for each public name."""
    text = heading("All names") + INTRODUCTION + "\n"
    for room, names in rooms.items():
        table = "".join(f"   {name}\n" for name in names)
        text += heading(title_of(room), "-") + f".. autosummary::\n   :nosignatures:\n\n{table}\n"
    return text


def page_of(room: str, names: list[str], parts: list[str]) -> str:
    """The page of a room: its names as Sphinx's autodoc describes them."""
    text = heading(title_of(room))
    if room == "errors":
        text += ".. automodule:: fastdata.errors\n   :no-members:\n\n"
    text += "\n".join(map(entry, names))
    if parts:
        text += "\n" + heading("What these take and give", "-") + "\n".join(map(entry, parts))
    return text


def entry(name: str) -> str:
    """The directive for one name."""
    value = value_of(name)
    if not inspect.isclass(value):
        return f".. autofunction:: {name}\n"
    kind = "exception" if issubclass(value, Exception) else "class"
    text = f".. auto{kind}:: {name}\n   :members:\n   :inherited-members: {FOREIGN}\n"
    return text + ("   :undoc-members:\n" if is_typeddict(value) else "")


def command() -> str:
    """The page of the command: its help, and that of each of its commands."""
    overview = help_of()
    found = re.findall(r"^    (\w+) ", overview, re.MULTILINE)
    text = heading("The command") + literal(overview)
    for name in found:
        text += heading(f"fastdata {name}", "-") + literal(help_of(name))
    return text


def help_of(*words: str) -> str:
    """What the command prints about itself."""
    line = [sys.executable, "-m", "fastdata", *words, "--help"]
    environment = {**os.environ, "COLUMNS": "96", "NO_COLOR": "1"}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout


def literal(text: str) -> str:
    """A block of text as it is."""
    lines = "".join(f"   {line}\n" if line else "\n" for line in text.splitlines())
    return f".. code-block:: text\n\n{lines}\n"
