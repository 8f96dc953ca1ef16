"""Benchmarks: what it costs to turn image files into batches, for each way of doing it.

Reading order: ``contenders`` (who takes part, and under which rules), ``common`` (the images and
packs, one contender measured in a process of its own, interleaved rounds, CPU time and memory of a
process tree, tables and charts), ``__main__`` (the command) and ``suites`` (the commands of all
suites). Then the suites, each a folder with ``suite`` (the rounds) and ``process`` (what runs in a
process of its own): ``cases`` (large, small and ordinary images), ``scaling``, ``startup``,
``memory``, ``packing``, ``accuracy``, ``gpu``, and ``rivals`` (other libraries; ``setup`` makes
their environments). ``single`` has questions of one file each.
"""
