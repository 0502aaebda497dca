"""Committees: members that differ, the mean of their logits, and gradients that are clipped one by one."""

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from tests.contract.tools import tiny_network
from tests.unit.training.helpers import NETWORK, make_set, options
from torch import nn

from metadcseg.errors import InputError
from metadcseg.evaluation.cost import measure_cost
from metadcseg.methods import create_method
from metadcseg.networks import Committee, NetworkOptions, create_networks, members_of
from metadcseg.own_loop import attach
from metadcseg.training import load_run, read_run, train
from metadcseg.training.run.checkpoints import load_checkpoint
from metadcseg.training.run.model_file import load_weights
from metadcseg.training.updater import SgdUpdater


def test_members_begin_with_weights_of_their_own_and_one_network_stays_one():
    made = create_networks(NetworkOptions(width=2), 1, 2, 3, torch.Generator().manual_seed(0))
    first, second, third = (member.state_dict() for member in members_of(made))
    assert first.keys() == second.keys() == third.keys()
    moved = [name for name in first if not torch.equal(first[name], second[name])]
    assert moved
    assert any(not torch.equal(second[name], third[name]) for name in moved)
    alone = create_networks(NetworkOptions(width=2), 1, 2, 1, torch.Generator().manual_seed(0))
    assert not isinstance(alone, Committee)
    assert all(torch.equal(value, first[name]) for name, value in alone.state_dict().items())


def test_it_answers_with_the_mean_of_the_logits_and_the_features_of_the_first():
    members = [tiny_network(seed) for seed in range(3)]
    images = torch.randn(2, 2, 8, 8)
    output, each = Committee(members)(images), [member(images) for member in members]
    torch.testing.assert_close(output.logits, torch.stack([one.logits for one in each]).mean(dim=0))
    assert torch.equal(output.features, each[0].features)


def test_every_member_is_clipped_by_its_own_norm():
    committee = Committee([tiny_network(seed) for seed in range(2)])
    chosen = options(ema_decay=0.0, clip=0.2, lr=1.0, warmup=0, momentum=0.0, weight_decay=0.0)
    updater = SgdUpdater(committee, chosen, Fabric(accelerator="cpu"))
    before = [nn.utils.parameters_to_vector(member.parameters()) for member in committee.members]
    large, small = (sum(p.sum() for p in member.parameters()) for member in committee.members)
    updater.backward(100 * large + 1e-3 * small)
    updater.step()
    after = [nn.utils.parameters_to_vector(member.parameters()) for member in committee.members]
    moved = [(old - new).norm().item() for old, new in zip(before, after, strict=True)]
    assert moved[0] == pytest.approx(0.2, rel=1e-3)
    assert moved[1] == pytest.approx(1e-3 * len(before[1]) ** 0.5, rel=1e-2)


def test_a_run_keeps_all_members_and_goes_on_to_the_same_bits(tmp_path):
    disks, method = make_set(tmp_path / "set"), create_method("hamil", gold="mixed")
    chosen = options(epochs=2, ema_decay=0.9, warmup=0)
    train(disks, method, NETWORK, chosen, tmp_path / "whole")
    single = sum(p.numel() for p in create_networks(NETWORK, 1, 2, 1).parameters())
    info = read_run(tmp_path / "whole")
    assert (info["parameters"], info["declaration"]["networks"]) == (3 * single, 3)

    train(disks, method, NETWORK, replace(chosen, epochs=1), tmp_path / "parts")
    train(disks, method, NETWORK, chosen, tmp_path / "parts", resume=True)
    saved = [load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "parts")]
    for part in ("network", "updater"):
        assert str(saved[0][part]) == str(saved[1][part])

    weights, _ = load_weights(tmp_path / "whole" / "model.safetensors")
    assert {name.split(".")[1] for name in weights} == {"0", "1", "2"}
    trained, image = load_run(tmp_path / "whole", trust_code=True), torch.randn(1, 1, 16, 16)
    each = torch.stack([member(image).logits for member in members_of(trained.network)])
    torch.testing.assert_close(trained.predict(image), each.mean(dim=0).softmax(dim=1))
    assert measure_cost(trained, 1, (16, 16))["parameters"] == 3 * single


def test_a_wrong_number_of_networks_is_refused():
    models = [tiny_network(seed).module for seed in range(2)]
    optimizer = torch.optim.SGD(nn.ModuleList(models).parameters(), lr=0.1)
    numbers = {"classes": 3, "images": 4}
    with pytest.raises(InputError, match="'trinet' needs a list of 3 models, got 2: give so many"):
        attach("trinet", models, optimizer, **numbers)
    with pytest.raises(InputError, match="'supervised' needs one model, got 2"):
        attach("supervised", models, optimizer, **numbers)
    assert attach("coteaching", models, optimizer, **numbers).step(
        torch.zeros(2, 2, 8, 8), torch.ones(2, 8, 8).long(), torch.arange(2)
    )
    with pytest.raises(InputError, match=r"'coteaching' needs a list of 2 models .* some share weights"):
        attach("coteaching", [models[0], models[0]], optimizer, **numbers)
    with pytest.raises(InputError, match="method 'hamil' trains 3 networks, got 1"):
        create_method("hamil").start(tiny_network(), None, torch.Generator(), None)
