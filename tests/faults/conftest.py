"""Attacks on the packer and the reader need what POSIX systems have."""

from __future__ import annotations

import os

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]
