"""The part of ``python -m benchmarks rivals`` that other libraries' environments run.

``environments`` says what ``benchmarks/setup`` installs, ``contenders`` who takes part, ``cases``
what is asked of them. ``runner`` is run by each rival's own interpreter: it imports one of the
``use_…`` modules, which all have ``prepare`` and ``build``, and measures.
"""
