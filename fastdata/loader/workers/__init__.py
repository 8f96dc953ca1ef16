"""Who makes the batches: processes, threads, or the caller's own thread.

Reading order: ``batch_maker`` (a task becomes a delivery), ``supply`` (which workers a loader has,
and what they give), ``threads``, ``background`` (made ahead, by a thread); ``deaths`` (what worker
processes were doing). The processes are torch's, and stand in ``loader.torch_private``.
"""
