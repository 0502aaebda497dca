"""The audit of arrays: the same from arrays, iterators and memory maps, and every axis checked."""

import numpy as np
import pytest
import torch

import metadcseg
from metadcseg.audit.label_issues import find_label_issues
from metadcseg.errors import InputError


def data(count=24, seed=0):
    """Noisy probabilities of squares, masks that are one pixel too large, and what is true."""
    generator = np.random.default_rng(seed)
    truth = np.zeros((count, 24, 24), np.uint8)
    truth[:, 6:16, 6:16] = 1
    given = truth.copy()
    given[:, 5:17, 5:17] = 1
    foreground = (0.15 + 0.7 * truth + generator.normal(0, 0.1, truth.shape)).clip(0.01, 0.99)
    return given, np.stack([1 - foreground, foreground], axis=1).astype(np.float32), truth


def test_public_name():
    assert metadcseg.find_label_issues is find_label_issues


def test_arrays_memory_maps_and_iterators_agree(tmp_path):
    given, said, truth = data()
    pairs = list(zip(given[:4], truth[:4], strict=True))
    np.save(tmp_path / "said.npy", said)
    kept = np.load(tmp_path / "said.npy", mmap_mode="r")
    from_arrays = list(find_label_issues(given, kept, pairs))
    from_iterators = list(find_label_issues(iter(given), iter(said), pairs))
    assert len(from_arrays) == len(from_iterators) == len(given)
    for one, other, true in zip(from_arrays, from_iterators, truth, strict=True):
        assert one.wrong.shape == (24, 24)
        assert np.abs(one.wrong - other.wrong).max() < 0.1  # other images told how far to believe the network
        assert (one.corrected["balanced"] != true).mean() < 0.02
        assert one.dsc_interval[0] <= one.dsc <= one.dsc_interval[1]


def test_labels_are_read_one_at_a_time():
    given, said, _ = data(count=40)
    read = []

    def labels():
        for number, label in enumerate(given):
            read.append(number)
            yield label

    found = find_label_issues(labels(), iter(said))
    next(found)
    assert read == [0]


def test_volumes_and_ignored_pixels():
    given, said, truth = data(count=4)
    volume, maps = given.copy(), said.swapaxes(0, 1)
    volume[:, :2] = 255
    (found,) = find_label_issues([volume], [maps], [(given, truth)])
    assert found.wrong.shape == volume.shape
    assert not found.wrong[:, :2].any()
    assert (found.corrected["network"][:, :2] == 255).all()


def test_with_probabilities_of_the_pairs_a_network_that_says_nothing_is_not_heard():
    given, said, truth = data()
    blind = np.random.default_rng(1).dirichlet((1, 1), (len(given), 24, 24)).transpose(0, 3, 1, 2)
    for maps, heard in ((blind, False), (said, True)):
        triples = list(zip(given[:8], truth[:8], maps[:8], strict=True))
        (found,) = find_label_issues(given[8:9], maps[8:9], iter(triples))
        (other,) = find_label_issues(given[8:9], np.roll(maps[8:9], 5, axis=2), triples)
        assert (np.abs(found.wrong - other.wrong).max() > 0.05) == heard
    (one,) = find_label_issues(
        given[8:9], said[8:9], [(given[:4], truth[:4], said[:4].swapaxes(0, 1)), triples[4], triples[5]]
    )
    assert (one.corrected["balanced"] == truth[8]).mean() > 0.98


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda g, t, s: [(g, t, s), (g, t)], "all of them, got 3 and 2 arrays"),
        (lambda g, t, s: [(g, t, s, s)] * 2, "got 4 and 4 arrays"),
        (lambda g, t, s: [(g,)], "got 1 and 1 arrays"),
        (lambda g, t, s: [(g, t[:9], s)] * 2, "must have one shape"),
        (lambda g, t, s: [(g, t, s[:, :9])] * 2, "probabilities must be"),
    ],
)
def test_pairs_that_do_not_fit(change, told):
    given, said, truth = data(count=3)
    with pytest.raises(InputError, match=told):
        list(find_label_issues(given, said, change(given[0], truth[0], said[0])))


@pytest.mark.parametrize(
    ("labels", "probabilities", "told"),
    [
        ([np.zeros((4, 4))], [np.zeros((2, 4, 4))], "whole numbers"),
        ([np.full((4, 4), 7)], [np.zeros((2, 4, 4))], "from 0 to 1, or 255"),
        ([np.zeros((4, 4), int)], [np.zeros((2, 4, 5))], "probabilities must be"),
        ([np.zeros((4, 4), int)], [np.full((2, 4, 4), 3.0)], "softmax"),
        ([np.zeros((4, 4), int)] * 2, [np.zeros((2, 4, 4))], "as many"),
        ([np.zeros((4, 4), int)], [], "no probabilities"),
        ([[[0, 1], [0]]], [np.zeros((2, 2, 2))], "labels cannot be read as an array"),
        ([[[0, 1], [0]]], [], "labels cannot be read as an array"),
        ([np.zeros((2, 2), int)], [[[0.5], [0.5, 0.5]]], "probabilities cannot be read as an array"),
        ([np.zeros((2, 2), int)], torch.zeros((1, 2, 2, 2), requires_grad=True), r"detach\(\)"),
        ([np.zeros((2, 2), int)], [0.5], "probabilities must be"),
    ],
)
def test_what_is_refused(labels, probabilities, told):
    with pytest.raises(InputError, match=told):
        list(find_label_issues(labels, probabilities))


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("counts", [(6, 5), (5, 6)])
def test_more_of_one_than_of_the_other(pairs, counts):
    given, said, truth = data(count=6)
    verified = list(zip(given[:3], truth[:3], strict=True)) if pairs else None
    with pytest.raises(InputError, match=f"as many, got {counts[0]} and {counts[1]}"):
        list(find_label_issues(given[: counts[0]], said[: counts[1]], verified))
