"""The place where a pack grows until it is complete, on a disk or behind a URL.

Reading order: ``base`` (the interface), ``local``, ``remote`` with ``upload`` and ``lease``,
``publish`` (the last step), ``destination`` (which of them a path means).
"""
