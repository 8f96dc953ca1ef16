"""The ``fastdata`` command, run in this process."""

from __future__ import annotations

from fastdata.cli import main


def run(*arguments: object) -> int:
    """The exit code of ``fastdata`` with these arguments, in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return -1 if not isinstance(end.code, int) else end.code
