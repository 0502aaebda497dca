"""A disk that is full, for tests."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(size):
    """Let no file grow beyond so many bytes: the system refuses the write, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
