"""Who makes the batches: processes, threads, or the caller's own thread.

Reading order: ``fetch`` (a task becomes a batch), ``supply`` (which workers there are),
``threads``, ``background``; then ``processes``, ``channels``, ``endings`` and ``torch_loader``,
which use private names of torch's loader.
"""
