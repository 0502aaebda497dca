"""What holds for every test: one thread, since tiny tensors on many threads only wait for each other."""

import torch

torch.set_num_threads(1)
