import io

import numpy as np
import pytest
import torch
from tests.contract.tools import PlainUpdater, storage, tiny_network
from tests.unit.methods.tools import flipped_third

from metadcseg.methods import create_method
from metadcseg.methods.calibrated.evidence import GoldEvidence, log_bayes_factors
from metadcseg.methods.pair_table import distance_bins, full_trust
from metadcseg.tensors import IGNORE


def test_a_cell_that_every_group_speaks_against_has_a_bayes_factor():
    rng = np.random.default_rng(0)
    sums = rng.normal(0, 1, (6, 50))
    sums[:, 0] = -10 + rng.normal(0, 0.5, 6)
    found = log_bayes_factors(sums, np.ones((6, 50)))
    assert found[0] > 4
    assert found[0] == found.max()


def test_chance_passes_rarely():
    rng = np.random.default_rng(1)
    passed = [log_bayes_factors(rng.normal(0, 1, (6, 60)), np.ones((6, 60))).any() for _ in range(300)]
    assert np.mean(passed) < 0.15  # 10 % of the tables where nothing is to be found


def test_a_group_that_speaks_louder_is_still_one_group():
    sums = np.zeros((6, 20))
    sums[0, 0] = -1000.0
    assert not log_bayes_factors(sums, np.ones((6, 20))).any()


def test_two_groups_say_nothing():
    assert not log_bayes_factors(np.full((2, 4), -5.0), np.ones((2, 4))).any()


def test_p_is_that_of_a_one_sided_t_test():
    values = np.array([[-1.0], [-2.0], [-3.0], [-2.5]])
    mean, error = values.mean(), values.std(ddof=1) / 2
    from scipy.stats import t

    p = t.cdf(mean / error, 3)
    assert log_bayes_factors(values, np.ones((4, 1)))[0] == pytest.approx(
        -np.log(-np.e * p * np.log(p)), rel=1e-5
    )


def test_gold_in_favor_raises_no_doubt():
    assert not log_bayes_factors(
        np.full((6, 3), 5.0) + np.random.default_rng(0).random((6, 3)), np.ones((6, 3))
    ).any()


def evidence_of(labels, candidates, groups=5, seen=5):
    evidence = GoldEvidence(groups)
    q = torch.full((len(labels), 2, *labels.shape[1:]), 0.5)
    cells = evidence.cells(labels, candidates, distance_bins(labels, 2), q)
    generator = torch.Generator().manual_seed(0)
    for group in range(seen):
        distrust = torch.where(labels == 1, -1.0, 1.0) + 0.1 * torch.randn(labels.shape, generator=generator)
        evidence.update(group, cells, distrust)
    return evidence, cells


def test_pixels_of_a_cell_are_doubted_together_and_ignored_ones_never():
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, :, 4:] = 1
    labels[:, 0] = IGNORE
    evidence, cells = evidence_of(labels, (labels != 1).long())
    assert (cells[:, 0] == -1).all()
    alpha = evidence.weigh(full_trust(labels), cells, prior=True).weights.alpha
    assert (alpha[labels == 1] < 0.5).all()
    assert (alpha[labels != 1] == 1).all()


def test_nobody_asked_changes_nothing():
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, :, 4:] = 1
    evidence, cells = evidence_of(labels, 1 - labels)
    before = {name: value.clone() for name, value in evidence.state_dict().items()}
    evidence.update(0, cells, torch.zeros(labels.shape))
    assert all(torch.equal(before[name], value) for name, value in evidence.state_dict().items())


def test_saved_evidence_is_read_back():
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, :, 4:] = 1
    evidence, _ = evidence_of(labels, 1 - labels)
    file = io.BytesIO()
    torch.save(evidence.state_dict(), file)
    file.seek(0)
    other = GoldEvidence(5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.against, evidence.against)


def test_without_pairs_wrong_labels_lose_trust():
    noisy, gold, _, wrong = flipped_third()
    network = one_channel(tiny_network(seed=1))
    method = create_method(
        "calibrated", pairs=False, stand_in=0, meta=True, warmup=1, meta_every=1, dcd=False
    )
    state = method.start(network, PlainUpdater(network), torch.Generator().manual_seed(0), storage())
    for step in range(60):
        state.updater.epoch = step // 4
        report = method.step(state, noisy, gold)
    alpha = report.maps.alpha
    assert alpha[wrong].mean() < 0.5
    assert alpha[~wrong].mean() > 0.9


def one_channel(network):
    from torch import nn

    network.module[0] = nn.Conv2d(1, 6, 3, padding=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network.module[0].reset_parameters()
    return network
