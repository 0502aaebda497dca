"""DynamicCenterDistance: it agrees with the functions to the bit, and is saved, moved and copied like any module."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from metadcseg import functional as F
from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.errors import InputError
from metadcseg.methods.old_states import upgrade_parts

SIZE = (8, 9)


def scene(seed, dtype=torch.float32, size=SIZE, classes=2, features=5):
    """Logits, features and gamma of two images."""
    generator = torch.Generator().manual_seed(seed)
    logits, maps = (torch.randn(2, depth, *size, generator=generator) for depth in (classes, features))
    return logits.to(dtype), maps.to(dtype), torch.rand(2, *size, generator=generator).to(dtype)


def mean_of_known(known, found):
    """Eq. 47 as a loop: the mean center of a batch's images, mixed into what is known; NaN where nothing is."""
    mixed = known.clone()
    for region in range(3):
        seen = [one for one, counted in zip(found.values, found.counted, strict=True) if counted[region]]
        if seen:
            mean = sum(one[region].detach() for one in seen) / len(seen)
            first = known[region].isnan().any()
            mixed[region] = mean if first else 0.5 * known[region] + 0.5 * mean
    return mixed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [SIZE, (3, *SIZE)])
@pytest.mark.parametrize("min_pixels", [1, 10_000])
@pytest.mark.parametrize("regions", ["foreground", "per_class"])
@pytest.mark.parametrize("tau", [None, 0.8])
def test_the_module_does_what_the_functions_do(dtype, size, min_pixels, regions, tau):
    module = DynamicCenterDistance(regions, 0.3, tau, temperature=0.7, min_pixels=min_pixels, decay=0.5)
    share = {"ratio": 0.3} if tau is None else {"tau": tau}
    known = None
    for seed in range(3):
        logits, features, gamma = scene(seed, dtype, size, classes=3)
        valid, edges = torch.rand(2, *size) > 0.1, torch.rand(2, *size) > 0.9
        if seed == 2:
            gamma = torch.zeros_like(gamma)  # nobody is trusted: the running centers stand in
        maps = F.foreground_probability(logits.softmax(dim=1), regions).unbind(dim=1)
        known = known or [torch.full((3, 5), torch.nan, dtype=dtype) for _ in maps]
        expected = []
        for number, foreground in enumerate(maps):
            parts = F.decompose_regions(foreground, **share, edges=edges, valid=valid)
            centers = F.region_centers(features, gamma, parts, known[number], min_pixels)
            known[number] = mean_of_known(known[number], centers)
            distance = F.dynamic_center_distance(features, centers)
            expected.append(F.boundary_weights(distance, parts.boundary, 0.7))
        found = module(logits, features, gamma, valid, edges)
        assert found.dtype == dtype
        torch.testing.assert_close(found, sum(expected) / len(expected), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(module.centers, torch.stack(known), equal_nan=True)


# What it returns


@pytest.mark.parametrize("regions", ["foreground", "per_class"])
@pytest.mark.parametrize("tau", [None, 0.8])
def test_weights_are_a_distribution_over_each_image(regions, tau):
    weights = DynamicCenterDistance(regions, tau=tau)(*scene(0, classes=3))
    assert weights.shape == (2, *SIZE)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(2))


def test_with_two_classes_both_readings_are_one():
    weights = [DynamicCenterDistance(regions)(*scene(0)) for regions in ("foreground", "per_class")]
    torch.testing.assert_close(*weights)


def test_a_class_without_boundary_takes_no_weight_from_the_others():
    logits, features, gamma = scene(0, classes=3)
    logits[:, 2] = -50.0  # class 2 is certainly nowhere, so that tau gives it no boundary
    per_class = DynamicCenterDistance("per_class", tau=0.8)(logits, features, gamma)
    two = DynamicCenterDistance(tau=0.8)(logits[:, :2], features, gamma)
    torch.testing.assert_close(per_class, two)
    assert per_class.sum() > 0


def test_no_boundary_gives_no_weight():
    logits, features, gamma = scene(0)
    logits[:, 0], logits[:, 1] = 50.0, -50.0
    weights = DynamicCenterDistance(tau=0.8)(logits, features, gamma)
    assert torch.equal(weights, torch.zeros(2, *SIZE))


def test_edges_join_and_pixels_that_do_not_count_leave():
    valid, edges = torch.ones(2, *SIZE, dtype=torch.bool), torch.zeros(2, *SIZE, dtype=torch.bool)
    valid[:, :5], edges[:, 4:7, 2] = False, True
    alone, joined = (
        DynamicCenterDistance(temperature=50.0)(*scene(0), valid, given) for given in (None, edges)
    )
    assert (joined[:, 5:7, 2] > 0).all()
    assert (joined[:, :5] == 0).all()
    assert (alone[:, :5] == 0).all()
    assert not torch.equal(alone, joined)


def test_an_image_without_edges_has_the_boundary_of_its_probabilities():
    none = torch.zeros(2, *SIZE, dtype=torch.bool)
    assert torch.equal(*(DynamicCenterDistance()(*scene(0), edges=edges) for edges in (none, None)))


def test_pixels_that_do_not_count_have_no_say_in_a_stand_in_center():
    valid = torch.ones(2, *SIZE, dtype=torch.bool)
    valid[:, :5] = False
    weights = []
    for filler in (0.0, 9.0):
        logits, features, gamma = scene(0)
        features[:, :, :5] = filler
        weights.append(DynamicCenterDistance(min_pixels=10_000)(logits, features, gamma, valid))
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_flows_through_the_weights_only_on_request(detach):
    logits, features, gamma = scene(0)
    weights = DynamicCenterDistance(detach=detach)(logits.requires_grad_(), features.requires_grad_(), gamma)
    assert weights.requires_grad is not detach
    if not detach:
        (weights * torch.arange(float(SIZE[1]))).sum().backward()
        assert features.grad.isfinite().all()
        assert features.grad.abs().sum() > 0
        assert logits.grad is None


# What it remembers


def test_nothing_is_learned_in_evaluation_mode():
    module = DynamicCenterDistance(min_pixels=1)
    module(*scene(0))
    before = module.centers.clone()
    module.eval()
    module(*scene(1))
    assert torch.equal(module.centers, before)
    module.train()
    module(*scene(1))
    assert not torch.equal(module.centers, before)


def test_centers_start_at_the_first_and_fade():
    module = DynamicCenterDistance(tau=0.6, min_pixels=1, decay=0.9)
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 1] = torch.tensor([9.0, 9.0, -9.0, -9.0])  # no boundary
    for value in (1.0, 2.0):
        module(logits, value * torch.tensor([[[[1.0, 1.0, 3.0, 3.0]]]]), torch.ones(1, 1, 4))
    assert module.centers.flatten()[:2].tolist() == pytest.approx([1.1, 3.3])
    assert module.centers[0, 2].isnan().all()
    assert not module.centers.requires_grad


def test_centers_do_not_learn_from_their_own_defaults():
    module = DynamicCenterDistance(min_pixels=1)
    module(*scene(0))
    before = module.centers.clone()
    logits, features, gamma = scene(1)
    module(logits, features, torch.zeros_like(gamma))  # no pixel is trusted: every region takes its default
    assert torch.equal(module.centers, before)


def test_others_than_the_centers_known_are_refused():
    module = DynamicCenterDistance("per_class", min_pixels=1)
    module(*scene(0, classes=3))
    for wrong, shape in (
        ({"features": 4}, r"\(2, 3, 4\), got \(2, 3, 5\)"),
        ({"classes": 4}, r"\(3, 3, 5\)"),
    ):
        with pytest.raises(InputError, match=f"default centers must have the shape {shape}"):
            module(*scene(1, **{"classes": 3} | wrong))
    with pytest.raises(InputError, match="default centers"):
        module.load_state_dict({"centers": torch.zeros(2, 4)})
    with pytest.raises(InputError, match="decay"):
        DynamicCenterDistance(decay=1.0)


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
    assert torch.equal(first.centers, second.centers)


def test_two_copies_share_nothing():
    first, second = DynamicCenterDistance(min_pixels=1), DynamicCenterDistance(min_pixels=1)
    first(*scene(0))
    second.load_state_dict(first.state_dict())
    before = first.centers.clone()
    second(*scene(1))
    assert torch.equal(first.centers, before)


@pytest.mark.parametrize("classes", [2, 12])
def test_a_checkpoint_of_before_is_read(classes):
    """Each foreground had an entry of its own, by its number."""
    module = DynamicCenterDistance("per_class", min_pixels=1)
    module(*scene(0, classes=classes))
    saved = {str(number): {"values": centers} for number, centers in enumerate(module.centers)}
    second = DynamicCenterDistance("per_class", min_pixels=1)
    second.load_state_dict(upgrade_parts({"boundary": saved})["boundary"])
    torch.testing.assert_close(second.centers, module.centers, rtol=0, atol=0, equal_nan=True)
    second.load_state_dict(upgrade_parts({"boundary": {}})["boundary"])  # before its first step
    assert second.centers.shape == (0, 3, 0)


def test_the_centers_are_a_buffer_of_the_whole_network():
    network = nn.Sequential(nn.Linear(2, 2), DynamicCenterDistance())
    assert [name for name, _ in network.named_buffers()] == ["1.centers"]
    assert [name for name, _ in network.named_parameters()] == ["0.weight", "0.bias"]
    assert network.to("meta")[1].centers.device.type == "meta"


def test_a_missing_or_unknown_key_is_an_error():
    for state in ({}, {"centers": torch.zeros(1, 3, 4), "more": torch.zeros(1)}):
        with pytest.raises(RuntimeError, match=r"Missing|Unexpected"):
            DynamicCenterDistance().load_state_dict(state)


PARALLEL = """
import copy, sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from metadcseg import DynamicCenterDistance

class Weighing(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 5, 1)
        self.distance = DynamicCenterDistance(min_pixels=1)

    def forward(self, logits, gamma):
        return self.distance(logits, self.features(gamma.unsqueeze(1)), gamma)

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
plain = Weighing()
parallel = DistributedDataParallel(copy.deepcopy(plain))
for _ in range(2):
    scene = torch.randn(2, 2, 8, 9), torch.rand(2, 8, 9)
    found = [network(*scene) for network in (plain, parallel)]
    found[1].sum().backward()
    assert torch.equal(*found)
assert torch.equal(plain.distance.centers, parallel.module.distance.centers)
distributed.destroy_process_group()
"""


def test_it_trains_within_distributed_data_parallel(tmp_path):
    """In a process of its own, which may join a group without leaving one to other tests."""
    command = [sys.executable, "-c", PARALLEL, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
