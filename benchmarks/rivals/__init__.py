"""Other libraries, each in an environment of its own.

Reading order: ``command``, ``run`` (interleaved rounds), ``process`` (one run of another
interpreter), ``images``; ``report``, ``html`` and ``chart``. ``environment`` is what the others'
interpreters run.
"""
