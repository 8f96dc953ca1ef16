"""torch's loader below its public face: all that depends on private names of it stands here.

Reading order: ``channels`` (pipes that a killed worker cannot block), ``processes`` (torch's
iterator over worker processes, made to end soon), ``iterators`` (a loader as torch's iterators read
it, made to carry deliveries), ``names`` (the smaller things that others need).

The private names of torch that are used, under what has them, and the modules that use them::

    torch.utils.data.dataloader
      _SingleProcessDataLoaderIter        iterators: made where there are no workers
      _MultiProcessingDataLoaderIter      processes: extended; iterators: made without pipes
    torch.utils.data.dataloader._MultiProcessingDataLoaderIter
      _reset                              processes: extended; begins an iteration
      _try_get_data                       processes: replaced; one message of a worker
      _process_data                       processes: extended; hands out a message
      _shutdown_workers                   processes: replaced; torch's destructor calls it
      _workers                            processes: the workers that have started
      _workers_status                     processes: which of them still have work
      _index_queues                       processes: into which None tells a worker to end
      _data_queue                         processes: the workers' messages, or those pinned
      _task_info                          processes: which worker has which task
      _shutdown                           processes: the workers were told to end
      _worker_pids_set                    processes: torch's signal handler knows them
      _pin_memory_thread                  processes: waited for at the end
      _pin_memory_thread_done_event       processes: tells it to end
      _sampler_iter                       iterators: closed when an iteration ends
      _IterableDataset_len_called         processes: cleared; ``Epoch`` warns itself
    torch.utils.data.DataLoader
      _get_iterator                       iterators: replaced; makes one of the two above
      _index_sampler                      iterators: replaced by the tasks
      _IterableDataset_len_called         names: read; iterators: cleared
      _DataLoader__multiprocessing_context  iterators: set past the check of its type
    torch.utils.data._utils
      python_exit_status                  processes: whether the interpreter ends
    torch.utils.data._utils.pin_memory
      pin_memory                          names: pins a batch inside of a delivery
    torch._utils
      ExceptionWrapper                    processes: a worker's error
    torch._C
      _remove_worker_pids                 processes: for torch's signal handler

Beyond names: an iterator over processes calls ``iter`` on the sampler twice and reads the second
one. It asks its context for a queue of results and an event, then for each worker for a queue of
indices and a process, which has the queue of results among its arguments; a message is
``(task's number, what the worker made)``. A worker reads a ``Task``, which torch takes for a list
of indices, by one call of the dataset's ``__getitems__`` (or ``__getitem__``), and collates what
that returns. ``get_worker_info()`` has an attribute ``dataset`` that ``object.__setattr__`` sets.

What differs between torch 2.2.0, 2.13.0 and 2.14.1, which were compared: the first does not know
``in_order``, does not tell ``_process_data`` the worker, and its ``get_worker_info()`` refuses
assignments by a method, where the others have a frozen dataclass; the last hands the dataset to a
process in a list that the worker empties. None of it matters here.

Pipes and queues are those of ``multiprocessing``, of whose ``Queue`` ``channels`` uses ``_reader``,
``_writer``, ``_thread`` and ``_ignore_epipe``.

When torch changes: the tests (``test_torch_private``) name what is gone, and what torch has begun
to use that is a name of ours. ``tools/test-torch VERSION`` runs the loader's tests on any torch.
Read torch's ``dataloader.py`` before and after, and mend it here; nothing else has to change. What
cannot be mended at once: with ``iterators.OWN_PIPES`` set to False workers are torch's in every
respect, which needs only the names of ``iterators`` and ``names``, and differs in what happens to
workers that are killed, and in that persistent ones begin anew.
"""
