"""Modules with buffers: they agree with the functions to the bit, and are saved, moved and copied like any other."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from metadcseg import functional as F
from metadcseg.algorithm.running_centers import DynamicCenterDistance, RunningCenters
from metadcseg.errors import InputError


def scene(seed, dtype=torch.float32, size=(8, 9), features=5):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, *size, generator=generator)
    regions = F.decompose_regions(probability, ratio=0.3)
    gamma = torch.rand(2, *size, generator=generator)
    return torch.randn(2, features, *size, generator=generator).to(dtype), gamma.to(dtype), regions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(8, 9), (3, 8, 9)])
@pytest.mark.parametrize("min_pixels", [1, 10_000])
def test_the_module_does_what_the_functions_do(dtype, size, min_pixels):
    module = DynamicCenterDistance(min_pixels, maximum=3.0, epsilon=1e-6, decay=0.5).to(dtype)
    running = RunningCenters(decay=0.5)
    for seed in range(3):
        features, gamma, regions = scene(seed, dtype, size)
        if seed == 2:
            gamma = torch.zeros_like(gamma)  # nobody is trusted: the running centers stand in
        centers = F.region_centers(features, gamma, regions, running.values, min_pixels)
        running.update(centers)
        expected = F.dynamic_center_distance(features, centers, epsilon=1e-6, maximum=3.0)
        found = module(features, gamma, regions)
        assert found.dtype == dtype
        assert torch.equal(found, expected)
    assert torch.equal(module.running.values.nan_to_num(7), running.values.nan_to_num(7))


def test_nothing_is_learned_in_evaluation_mode():
    module = DynamicCenterDistance(min_pixels=1)
    module(*scene(0))
    before = module.running.values.clone()
    module.eval()
    module(*scene(1))
    assert torch.equal(module.running.values, before)
    module.train()
    module(*scene(1))
    assert not torch.equal(module.running.values, before)


def test_features_of_another_width_are_refused_once_centers_are_known():
    module = DynamicCenterDistance(min_pixels=1)
    module(*scene(0))
    with pytest.raises(InputError, match=r"default must have the shape \(3, 4\), got \(3, 5\)"):
        module(*scene(1, features=4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("updates", [0, 2])
@pytest.mark.parametrize("way", ["state_dict", "assign", "deepcopy", "weights_only"])
def test_a_copy_goes_on_to_the_bit(way, updates, dtype, tmp_path):
    first = DynamicCenterDistance(min_pixels=1)
    for seed in range(updates):
        first(*scene(seed, dtype))
    second = DynamicCenterDistance(min_pixels=1)
    if way == "deepcopy":
        second = copy.deepcopy(first)
    elif way == "weights_only":
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    else:
        second.load_state_dict(first.state_dict(), assign=way == "assign")
    for seed in (5, 6):
        assert torch.equal(first(*scene(seed, dtype)), second(*scene(seed, dtype)))
    assert torch.equal(first.running.values, second.running.values)


def test_two_copies_share_nothing():
    first, second = DynamicCenterDistance(min_pixels=1), DynamicCenterDistance(min_pixels=1)
    first(*scene(0))
    second.load_state_dict(first.state_dict())
    before = first.running.values.clone()
    second(*scene(1))
    assert torch.equal(first.running.values, before)


def test_a_checkpoint_of_before_the_modules_is_read():
    running = RunningCenters()
    running.load_state_dict({"values": torch.full((3, 4), 2.0)})  # what state_dict() returned then
    assert running.values.tolist() == [[2.0] * 4] * 3
    running.load_state_dict({"values": torch.zeros(3, 0)})
    assert running.values.shape == (3, 0)


def test_the_centers_are_a_buffer_of_the_whole_network():
    network = nn.Sequential(nn.Linear(2, 2), DynamicCenterDistance())
    assert [name for name, _ in network.named_buffers()] == ["1.running.values"]
    assert [name for name, _ in network.named_parameters()] == ["0.weight", "0.bias"]
    assert network.to("meta")[1].running.values.device.type == "meta"


def test_a_missing_or_unknown_key_is_an_error():
    for state in ({}, {"values": torch.zeros(3, 4), "more": torch.zeros(1)}):
        with pytest.raises(RuntimeError, match=r"Missing|Unexpected"):
            RunningCenters().load_state_dict(state)


def test_no_gradient_stays_in_the_buffer():
    features, gamma, regions = scene(0)
    module = DynamicCenterDistance(min_pixels=1)
    module(features.requires_grad_(), gamma, regions).sum().backward()
    assert not module.running.values.requires_grad
    assert features.grad.isfinite().all()


PARALLEL = """
import copy, sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from metadcseg import DynamicCenterDistance, functional

class Weighing(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 5, 1)
        self.distance = DynamicCenterDistance(min_pixels=1)

    def forward(self, images, gamma, regions):
        return self.distance(self.features(images), gamma, regions)

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
plain = Weighing()
parallel = DistributedDataParallel(copy.deepcopy(plain))
for _ in range(2):
    gamma = torch.rand(2, 8, 9)
    scene = gamma.unsqueeze(1), gamma, functional.decompose_regions(torch.rand(2, 8, 9), ratio=0.3)
    found = [network(*scene) for network in (plain, parallel)]
    found[1].sum().backward()
    assert torch.equal(*found)
assert torch.equal(plain.distance.running.values, parallel.module.distance.running.values)
distributed.destroy_process_group()
"""


def test_it_trains_within_distributed_data_parallel(tmp_path):
    """In a process of its own, which may join a group without leaving one to other tests."""
    command = [sys.executable, "-c", PARALLEL, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
