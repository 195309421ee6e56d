"""Work that leaves nothing behind. Ctrl-C comes between two bytecodes, of any `try` and `with`, and never in here."""


def finishing(work, list ends):
    """work(), then each of `ends`, the last one first, whatever comes; `work` may add to them as it goes.

    An end is called once more where Ctrl-C broke it off: it must stand being called twice.
    """
    try:
        return work()
    finally:
        _end(ends)


cdef int _end(list ends) except -1:
    if not ends:
        return 0
    end = ends.pop()
    try:
        try:
            end()
        except Exception:
            raise
        except BaseException:
            end()
            raise
    finally:
        _end(ends)
    return 0


def locked(lock, work):
    """work() while the lock is held."""
    lock.acquire()
    try:
        return work()
    finally:
        lock.release()
