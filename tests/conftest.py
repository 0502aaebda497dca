"""What holds for every test.

One thread, since tiny tensors on many threads only wait for each other. Ctrl-C interrupts, also where the suite itself
runs in the background of a shell, which would hand on to every child that it is ignored.
"""

import signal

import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
