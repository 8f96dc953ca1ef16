"""Benchmarks: what it costs to turn image files into batches, for each way of doing it.

Reading order: ``contenders`` (who takes part, and under which rules), ``data`` (the images and
packs), ``_run`` (one contender measured in a process of its own), ``usage`` (CPU time and memory of
a process tree), ``rounds`` (the interleaved rounds), ``report`` and ``chart``, ``__main__`` (the
command). Then the suites: ``cases`` with ``case_loaders``, ``case_rounds`` and ``case_report``
(large, small and ordinary images); ``scaling`` with ``big_pack``, ``_rows`` and ``_gil``;
``startup`` with ``_startup``; ``gpu`` with ``_gpu``, ``resnet50`` and ``timeline``;
``memory`` (growth from epoch to epoch); ``suites`` (their commands). Other libraries have the
package ``rivals``, which their own interpreters run, and ``rivals_command``, ``rivals_run``,
``rivals_report`` and their like beside it; ``setup`` makes the environments.
"""
