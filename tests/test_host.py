"""Freed memory stays with the process, where the C library can be told so."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading
import numpy as np
from r3jax import host

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use_memory(times):
    before = faults()
    for _ in range(times):
        np.ones(100 * 2**20, np.uint8)
    return faults() - before

def in_a_thread(times):
    found = []
    thread = threading.Thread(target=lambda: found.append(use_memory(times)))
    thread.start(), thread.join()
    return found[0]

given_back = use_memory(10)
assert host.keep_freed_memory()
use_memory(1)
print(given_back, use_memory(10), in_a_thread(10))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone can be told")
def test_kept_memory_is_not_paged_in_again_whatever_thread_asks_for_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    given_back, kept, in_thread = map(int, done.stdout.split())
    assert kept < given_back / 10 and in_thread < given_back / 10
