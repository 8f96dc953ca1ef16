"""``python -m fastdata``."""

from .cli import entry

if __name__ == "__main__":
    entry()
