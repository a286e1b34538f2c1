"""Many models at once on the cores of this process, or wherever joblib sends them.

A job is one model that is trained; a training call keeps the GIL for its preparation only, so threads are enough and
all of them read the one copy of the data. The threads that fastnn may use are shared out: as many jobs at once as
there are threads, one thread each; when fewer jobs are left, those get the free threads at their next epoch. This
changes speed, never bits.

Inside ``with joblib.parallel_config(...)`` the jobs go to that backend (loky, threading, Dask, Ray) instead.
"""

import contextlib
import queue
import sys
import threading
from collections import deque

from .threads import get_num_threads, num_threads
from .training.callbacks import Callback

__all__ = ["Slot", "count_workers", "run_jobs"]


class Slot:
    """What a job knows of the place it runs in. This one runs alone: with the threads that the caller has."""

    def watch(self, trainer):
        """Context manager around the fits of a trainer: a cancelled run stops it."""
        return contextlib.nullcontext()

    def callbacks(self):
        """Callbacks to give to the job's fits."""
        return ()


class _ThreadSlot(Slot):
    """A slot of the thread pool."""

    def __init__(self, pool):
        self._pool = pool
        self._trainer = None
        self._share = None
        self._held = contextlib.ExitStack()

    @contextlib.contextmanager
    def watch(self, trainer):
        self._trainer = trainer
        try:
            yield
        finally:
            self._trainer = None

    def callbacks(self):
        return (_ShareOut(self),)

    def take_share(self):
        """Let the calls of this Python thread use its share of the threads."""
        share = self._pool.share_of(self)
        if share != self._share:
            self._held.close()
            self._held.enter_context(num_threads(share))
            self._share = share

    def release(self):
        self._held.close()

    @property
    def cancelled(self):
        return self._pool.cancelled

    def stop(self):
        trainer = self._trainer
        if trainer is not None:
            trainer.stop()


class _ShareOut(Callback):
    """Before each epoch: the threads that are this job's by now, or the end of a run that was cancelled."""

    allows_lookahead = True

    def __init__(self, slot):
        self._slot = slot

    def on_fit_begin(self):
        if self._slot.cancelled:
            self.trainer.stop()

    def on_epoch_begin(self, epoch):
        if self.trainer.num_threads is None:  # else the factory has decided
            self._slot.take_share()


class _Pool:
    """Worker threads over a queue of jobs."""

    def __init__(self, function, jobs, workers, threads):
        self._function = function
        self._jobs = deque(enumerate(jobs))
        self._threads = threads
        self._done = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.cancelled = False
        self._slots = [_ThreadSlot(self) for _ in range(workers)]
        self._active = list(self._slots)  # from the start: the first of them shall not take all threads

    def share_of(self, slot):
        with self._lock:
            count, place = len(self._active), self._active.index(slot)
        return max(1, self._threads // count + (place < self._threads % count))

    def _work(self, slot):
        try:
            while not self.cancelled:
                with self._lock:
                    if not self._jobs:
                        break
                    number, job = self._jobs.popleft()
                slot.take_share()
                self._done.put((number, self._function(job, slot), None))
        except BaseException as error:
            self._done.put((None, None, error))
        finally:
            slot.release()
            with self._lock:
                self._active.remove(slot)

    def run(self):
        """Yield (number of the job, result) as they come; the first error ends all and is raised."""
        left = len(self._jobs)
        threads = [threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in self._slots]
        try:
            for thread in threads:
                thread.start()
            while left:
                number, result, error = self._done.get()
                if error is not None:
                    raise error
                left -= 1
                yield number, result
        finally:
            self.cancelled = True
            for slot in self._slots:
                slot.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


def _joblib_config():
    """(the module joblib, its backend) if the user has configured joblib here, else None. Never imports joblib."""
    joblib = sys.modules.get("joblib")
    if joblib is None:
        return None
    backend, count = joblib.parallel.get_active_backend(prefer="threads")
    # Unconfigured, this preference gives threads and one job: then our own pool is the better one.
    if isinstance(backend, joblib.parallel.ThreadingBackend) and (count is None or count == 1):
        return None
    return joblib, backend


def count_workers(n_jobs, jobs):
    """How many jobs run at once on this machine: ``n_jobs``, or the threads that fastnn may use here.

    Parameters
    ----------
    n_jobs : int or None
        -1 is the same as None (scikit-learn's spelling).
    jobs : int
    """
    if n_jobs is None or n_jobs == -1:
        n_jobs = get_num_threads()
    elif isinstance(n_jobs, bool) or int(n_jobs) != n_jobs or n_jobs < 1:
        raise ValueError(f"n_jobs must be an integer >= 1, or None or -1 for all threads, got {n_jobs!r}")
    return max(1, min(int(n_jobs), jobs))


def run_jobs(function, jobs, n_jobs=None, counter=None):
    """Run ``function(job, slot)`` for every job, many at once; yield (number, result) in the order in which they end.

    Parameters
    ----------
    function : callable
        With a joblib backend of processes it and the jobs are pickled.
    jobs : sequence
    n_jobs : int, optional
        Jobs at once. Default: joblib's configuration if there is one, else the threads that fastnn may use.
    counter : optional
        Told of every job that is done, by ``counter.count()`` (see `training.progress.make_counter`).

    Raises
    ------
    Whatever a job raises first; the others are then stopped at their next step.
    """
    for number, result in _run(function, list(jobs), n_jobs):
        if counter is not None:
            counter.count()
        yield number, result


def _run(function, jobs, n_jobs):
    configured = _joblib_config() if n_jobs is None else None
    if configured is not None:
        yield from _run_joblib(*configured, function, jobs)
        return
    workers = count_workers(n_jobs, len(jobs))
    if workers == 1:
        for number, job in enumerate(jobs):
            yield number, function(job, Slot())
        return
    yield from _Pool(function, jobs, workers, get_num_threads()).run()


def _run_joblib(joblib, backend, function, jobs):
    try:
        parallel = joblib.Parallel(prefer="threads", return_as="generator_unordered")
    except (NotImplementedError, TypeError, ValueError):  # a backend or a joblib that cannot
        parallel = joblib.Parallel(prefer="threads")
    threads = None  # in a process of its own joblib has set them
    if getattr(backend, "supports_sharedmem", False):
        threads = max(1, get_num_threads() // max(1, min(joblib.effective_n_jobs(), len(jobs))))
    yield from parallel(joblib.delayed(_in_worker)(function, number, job, threads) for number, job in enumerate(jobs))


def _in_worker(function, number, job, threads):
    with num_threads(threads):
        return number, function(job, Slot())
