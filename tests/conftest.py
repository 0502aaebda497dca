"""What holds for every test.

One thread, also in processes that tests start: tiny tensors on many threads only wait for each other, the more so
beside other tests. Ctrl-C interrupts, also where the suite itself runs in the background of a shell, which would hand
on to every child that it is ignored. No deadline for drawn examples: a machine that many share is slow for a moment.
"""

import os
import signal

import torch
from hypothesis import settings
from tests.browser import chromium as chromium
from tests.browser import visit as visit

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("shared machine", deadline=None, derandomize=True)
settings.load_profile("shared machine")
