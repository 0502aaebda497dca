"""A network is heard as far as pairs show that it knows something, and what is said of a label is then so."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from metadcseg.audit.pool import pooled
from metadcseg.audit.probability import PairCounts, ShareSample, Witnesses, native_bins
from metadcseg.audit.scoring import histogram
from metadcseg.audit.weight import SEEN, fit_weight, weights_for
from metadcseg.evaluation.noise_detection import auroc
from metadcseg.methods.pair_table import class_posterior

SIDE, PAIRS = 32, 30


def images(count, knows, seed, sharp=1.0):
    """Discs whose given masks are up to three pixels too large, and a network that errs smoothly."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(count):
        distance = np.hypot(*(np.stack([y, x]) - rng.uniform(12, 20, 2)[:, None, None])) - rng.uniform(5, 9)
        truth, given = (distance < 0).astype(np.uint8), (distance < rng.integers(0, 4)).astype(np.uint8)
        coarse = rng.normal(size=(SIDE // 4, SIDE // 4)).repeat(4, axis=0).repeat(4, axis=1)
        logit = sharp * (knows * np.clip(-distance, -4, 4) + 1.5 * coarse)
        said = (1 / (1 + np.exp(-np.stack([-logit, logit])))).astype(np.float32)
        yield given, truth, said


@lru_cache
def fitted(knows, seed=0, sharp=1.0):
    pairs = list(images(PAIRS, knows, seed, sharp))
    counts = PairCounts.count([(given, truth) for given, truth, _ in pairs], 2)
    sample = ShareSample(2, 40)
    others = list(images(40, knows, seed + 100, sharp))
    for given, _, said in others:
        sample.add(given, said)
    odds = sample.match(counts.table(), weights_for(seen=False))
    groups = [str(number // 2) for number in range(PAIRS)]
    return counts.table(), fit_weight(pairs, counts, groups, odds), others


def scored(others, speak):
    """Return P(wrong) and what is wrong, over all pixels."""
    wrong = np.concatenate([speak(given, said).ravel() for given, _, said in others])
    return wrong, np.concatenate([(given != truth).ravel() for given, truth, _ in others])


@pytest.mark.parametrize("sharp", [1.0, 4.0])
def test_a_network_that_knows_nothing_leaves_the_pairs_alone(sharp):
    table, fit, others = fitted(0.0, sharp=sharp)
    assert fit.weight() == 0
    given, _, said = others[0]
    witnesses = fit.witnesses(table)
    assert (witnesses.posterior(given, said) == witnesses.posterior(given, None)).all()


def test_a_sharp_network_is_heard_less_than_it_says():
    assert fitted(0.6, sharp=4.0)[1].weight() < fitted(0.6)[1].weight()


@pytest.mark.parametrize(("knows", "sharp"), [(0.0, 1.0), (0.3, 1.0), (0.3, 4.0), (1.0, 1.0), (2.0, 1.0)])
def test_what_is_said_of_labels_is_so(knows, sharp):
    table, fit, others = fitted(knows, sharp=sharp)
    witnesses = fit.witnesses(table)
    said, wrong = scored(others, lambda given, q: witnesses.wrong(given, witnesses.posterior(given, q)))
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.01)):
        inside = (said >= low) & (said < high)
        if inside.sum() > 300:
            assert said[inside].mean() == pytest.approx(wrong[inside].mean(), abs=0.15)


@pytest.mark.parametrize("knows", [1.0, 2.0])
def test_a_good_network_loses_nothing_beside_the_plain_product(knows):
    table, fit, others = fitted(knows)
    witnesses = fit.witnesses(table)

    def product(given, said):
        labels, bins = (
            torch.from_numpy(each.astype(np.int64))[None] for each in (given, native_bins(given, 2))
        )
        found = class_posterior(table, labels, bins, torch.from_numpy(said)[None])[0].numpy()
        return Witnesses(table).wrong(given, found)

    ours, plain = (
        auroc(*histogram(said.astype(np.float32), wrong))
        for said, wrong in (
            scored(others, lambda given, q: witnesses.wrong(given, witnesses.posterior(given, q))),
            scored(others, product),
        )
    )
    assert ours > plain - 0.002


def test_a_network_that_has_seen_the_pairs_is_capped():
    assert max(weights_for(seen=True)) == SEEN < max(weights_for(seen=False)) == 1


def test_the_weight_of_a_pair_is_fitted_without_it():
    _, fit, _ = fitted(1.0)
    spoilt = fit.losses.copy()
    spoilt[:2] = [
        [9.0, *[0.0] * (spoilt.shape[1] - 2), -9.0]
    ] * 2  # of one group, which alone asks for the network
    spoilt[2:] = [np.arange(spoilt.shape[1])] * (PAIRS - 2)
    held = type(fit)(fit.odds, spoilt, fit.groups)
    assert held.weight(without=0) == 0 == held.weight(without=1)


def test_three_classes_and_labels_without_doubt():
    rng = np.random.default_rng(0)
    table = rng.uniform(0, 0.4, (3, 3, 10)).astype(np.float32)
    table[[0, 1, 2], [0, 1, 2]] = 0
    table[0] = 0  # nobody doubts what was given 0
    given, bins = rng.integers(0, 3, 50), rng.integers(0, 10, (3, 50))
    network = rng.dirichlet(np.ones(3), 50).T.astype(np.float32)
    found = pooled(table, given, bins, network, 0.6)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-6)
    assert (found[:, given == 0] == np.array([[1], [0], [0]])).all()
    alone = pooled(table, given, bins, None)
    assert (pooled(table, given, bins, network, 0.0) == alone).all()
    one = (given == 1) & (network.min(axis=0) > 1e-3)
    by_hand = table[1, 0, bins[0]] ** 0.7 * network[0] ** 0.6
    other = table[1, 2, bins[2]] ** 0.7 * network[2] ** 0.6
    assert np.allclose((found[0] * other)[one], (found[2] * by_hand)[one], rtol=1e-4)
