"""Random states of every device are put back."""

import pytest
import torch

from metadcseg.forward_mode.random_state import kept_random_state, random_state


def test_a_block_leaves_no_trace_also_when_it_raises():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), kept_random_state([torch.device("cpu")]):
        torch.rand(5) / (1 // 0)
    assert torch.equal(torch.rand(2), wanted)


def test_the_generator_of_an_mps_device_is_one_of_them(monkeypatch):
    """No such device here: only that it is asked and told."""
    states = ["before"]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    put_back = random_state([torch.device("mps"), torch.device("mps")])
    states.append("drawn")
    put_back()
    assert states == ["before", "drawn", "before"]
    random_state([torch.device("cpu")])()
    assert len(states) == 3
