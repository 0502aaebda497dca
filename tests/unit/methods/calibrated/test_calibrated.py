from dataclasses import replace

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, gold_batch, storage, tiny_network
from tests.unit.methods.test_pair_table import SIDE, disk, pair_batch
from torch import nn

from metadcseg.errors import InputError, Note
from metadcseg.methods import create_method
from metadcseg.warp import Warp


def started(network, name="calibrated", **options):
    method = create_method(name, **options)
    return method, method.start(network, PlainUpdater(network), torch.Generator(), storage())


def same(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def test_no_noise_is_supervision_with_the_same_gold_bit_for_bit():
    networks = [tiny_network(), tiny_network()]
    rows = [
        ("calibrated", {"dcd": False, "lambda_dice": 0.1, "warmup": 0}),
        ("supervised", {"gold": "mixed"}),
    ]
    for network, (name, options) in zip(networks, rows, strict=True):
        method, state = started(network, name, **options)
        for number in range(4):
            gold = gold_batch(100 + number)
            report = method.step(state, batch(number), replace(gold, given=gold.labels))
            if report.maps is not None:
                assert torch.equal(report.maps.alpha, torch.ones_like(report.maps.alpha))
                assert not report.maps.beta.any()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_one_pair_moves_nothing():
    network = tiny_network()
    method, state = started(network, warmup=0)
    for number in range(3):
        report = method.step(state, batch(number), gold_batch(100 + number, count=1))
        assert torch.equal(report.maps.alpha, torch.ones_like(report.maps.alpha))


def test_without_pairs_and_meta_steps_nothing_is_doubted_and_no_weights_are_kept():
    network = tiny_network()
    method, state = started(network, pairs=False, stand_in=0)
    report = method.step(state, batch(0), gold_batch(100))
    assert torch.equal(report.maps.alpha, torch.ones_like(report.maps.alpha))
    assert method.weights(state, batch(0)) is None


class Oracle(nn.Module):
    """Says that the first channel of the image is the probability of foreground."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        from metadcseg.networks.contract import Output

        foreground = (images[:, 0] * 2 - 1) * self.scale
        return Output(torch.stack([-foreground, foreground], dim=1), images)


@pytest.mark.parametrize("by", [-4, 4])
def test_a_rim_of_wrong_labels_is_distrusted_and_given_back(by):
    network = Oracle()
    method, state = started(network, warmup=0, dcd=False)
    verified = torch.stack([disk(radius) for radius in (12, 13, 14, 15)])
    given = torch.stack([disk(radius + by) for radius in (12, 13, 14, 15)])
    gold = replace(pair_batch(given, verified), images=verified.unsqueeze(1).float())
    truth, drawn = disk(16)[None], disk(16 + by)[None]
    noisy = replace(pair_batch(None, drawn), images=truth.unsqueeze(1).float())
    for _ in range(2):
        report = method.step(state, noisy, gold)
    wrong = truth != drawn
    assert report.maps.alpha[wrong].mean() < 0.2
    assert report.maps.alpha[~wrong].mean() > 0.97
    torch.testing.assert_close(report.maps.alpha + report.maps.beta, torch.ones(1, SIDE, SIDE))


def test_before_warmup_the_network_is_no_witness():
    noisy, maps = batch(0), []
    for warmup in (0, 5):
        network = tiny_network()
        method, state = started(network, warmup=warmup, dcd=False)
        maps.append(method.step(state, noisy, gold_batch(100)).maps.alpha)
    network = tiny_network()
    method, state = started(network, witness="none", dcd=False)
    alone = method.step(state, noisy, gold_batch(100)).maps.alpha
    assert torch.equal(maps[1], alone)
    assert not torch.equal(maps[0], alone)


def test_an_average_that_is_off_cannot_be_a_witness():
    network = tiny_network()
    updater = PlainUpdater(network)
    updater.ema_model = None
    with pytest.raises(InputError, match="ema_decay"):
        create_method("calibrated", witness="ema").start(network, updater, torch.Generator(), storage())


def test_an_average_that_nobody_asks_may_be_off():
    network = tiny_network()
    updater = PlainUpdater(network)
    updater.ema_model = None
    method = create_method("calibrated", witness="ema", pairs=False, stand_in=0)
    assert method.start(network, updater, torch.Generator(), storage()).network is network
    assert method.info.passes == create_method("calibrated", pairs=False, stand_in=0).info.passes


@pytest.mark.parametrize("gold", [0, 1, 2])
def test_gold_too_scarce_for_evidence_is_said(gold):
    updater = PlainUpdater(tiny_network())
    updater.gold_images = gold
    with pytest.warns(Note, match=f"{gold} gold images are too few, of fewer than 3"):
        create_method("calibrated", meta=True).start(updater.network, updater, torch.Generator(), storage())


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 2), ({"pairs": False}, 2), ({"pairs": False, "stand_in": 0, "meta": True}, 3), ({"meta": True}, 2)],
)
def test_trust_needs_two_images_or_three_groups(options, least):
    assert create_method("calibrated", **options).info.least_gold == least


@pytest.mark.parametrize(
    "option",
    [
        {"match_shares": 2},
        {"stand_in": 1},
        {"stand_in": -1},
        {"witness": "never"},
        {"temperature": 0.0},
        {"pairs": 1},
        {"meta_every": 0},
    ],
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(InputError, match=next(iter(option))):
        create_method("calibrated", **option)


def test_masks_that_were_moved_are_looked_at_where_they_are():
    """A table is one of distances in the augmented grid: a mirrored pair says the same."""
    network = tiny_network()
    gold = gold_batch(100)
    mirrored = replace(
        gold,
        images=gold.images.flip(3),
        labels=gold.labels.flip(2),
        given=gold.given.flip(2),
        edges=gold.edges.flip(2),
    )
    tables = []
    for each in (gold, replace(mirrored, warp=Warp.identity(2))):
        _, state = started(network)
        state.parts["pairs"].update(each, 3)
        tables.append(state.parts["pairs"].pooled())
    torch.testing.assert_close(*tables)


def test_gold_nobody_is_left_to_ask_about_is_refused():
    with pytest.raises(InputError, match="witness"):
        create_method("calibrated", meta=True, witness="none")


def test_gold_that_is_asked_is_not_trained_on():
    """With a single group left out, what is trained on is the same as if its image had no labels."""
    network, other = tiny_network(), tiny_network()
    gold = gold_batch(100)  # images 0 and 1 of 4: in epoch 3 image 0 is asked
    for each, batch_of_gold in ((network, gold), (other, gold)):
        method, state = started(each, pairs=False, stand_in=0, meta=True, warmup=0, meta_every=2, dcd=False)
        state.updater.epoch, state.updater.steps = 3, 1  # no meta step: image 0 rests
        if each is other:
            labels = gold.labels.clone()
            labels[0] = 2 - labels[0]
            batch_of_gold = replace(gold, labels=labels)
        method.step(state, batch(0), batch_of_gold)
    assert same(network, other)


@pytest.mark.filterwarnings("ignore:calibrated.meta.*2 gold images are too few")
def test_of_two_gold_images_none_rests_for_evidence_that_needs_three():
    network, other = tiny_network(), tiny_network()
    for each, options in ((network, {"meta": True}), (other, {})):
        method = create_method("calibrated", pairs=False, stand_in=0, warmup=0, **options)
        updater = PlainUpdater(each)
        updater.gold_images = 2
        state = method.start(each, updater, torch.Generator(), storage())
        for number in range(2):
            method.step(state, batch(number), gold_batch(100))
    assert same(network, other)


def standing_in(by, verified=(12, 13, 14, 15), **options):
    """A network that draws all masks too large, or too small, as those that it was trained on."""
    network = Oracle()
    method, state = started(network, pairs=False, stand_in=2, warmup=0, dcd=False, **options)
    gold_masks = torch.stack([disk(radius) for radius in verified])
    habit = torch.stack([disk(radius + by) for radius in verified])
    gold = replace(pair_batch(None, gold_masks), images=habit.unsqueeze(1).float())
    noisy = replace(pair_batch(None, disk(16 + by)[None]), images=disk(16 + by)[None].unsqueeze(1).float())
    return network, method, state, noisy, gold


@pytest.mark.parametrize("by", [-4, 4])
def test_what_the_network_draws_on_gold_stands_in_for_pairs(by):
    _, method, state, noisy, gold = standing_in(by)
    for state.updater.epoch in (0, 1, 2):
        report = method.step(state, noisy, gold)
        if state.updater.epoch < 2:  # only given masks are learned from
            assert torch.equal(report.maps.alpha, torch.ones_like(report.maps.alpha))
    wrong = disk(16)[None] != disk(16 + by)[None]
    assert report.maps.alpha[wrong].mean() < 0.5
    assert report.maps.alpha[~wrong].mean() > 0.9


def test_gold_is_not_trained_on_before_it_was_drawn():
    network, method, state, noisy, gold = standing_in(4)
    other, its_method, its_state, _, _ = standing_in(4)
    for state.updater.epoch in (0, 1):
        method.step(state, noisy, gold)
        its_state.updater.epoch = state.updater.epoch
        its_method.step(its_state, noisy, replace(gold, labels=1 - gold.labels))
    assert same(network, other)
    state.updater.epoch = its_state.updater.epoch = 2
    method.step(state, noisy, gold)
    its_method.step(its_state, noisy, replace(gold, labels=1 - gold.labels))
    assert not same(network, other)


@pytest.mark.parametrize("by", [-4, 4])
def test_what_the_network_gets_wrong_of_given_masks_too_is_its_own_error(by):
    """It draws training images as badly as gold, so the given masks are not to blame."""
    _, method, state, noisy, gold = standing_in(by)
    noisy = replace(noisy, labels=disk(16)[None])  # as verified masks would be
    for state.updater.epoch in (0, 1, 2):
        report = method.step(state, noisy, gold)
    assert report.maps.alpha.min() > 0.7
    assert report.maps.alpha.mean() > 0.99


def test_gold_and_given_masks_are_drawn_in_one_mode():
    """Dropout or batch statistics in one of the two would be taken for errors of the given masks."""
    network, method, state, noisy, gold = standing_in(4)
    asked = []
    network.register_forward_hook(lambda module, inputs, _: asked.append((module.training, len(inputs[0]))))
    state.updater.epoch = 1
    method.step(state, noisy, gold)
    assert [images for training, images in asked if not training] == [len(gold.images), len(noisy.images)]
    assert network.training


def test_a_network_that_draws_gold_as_it_is_leaves_every_label_trusted():
    _, method, state, noisy, gold = standing_in(0)
    for state.updater.epoch in (0, 1, 2):
        report = method.step(state, noisy, gold)
    assert torch.equal(report.maps.alpha, torch.ones_like(report.maps.alpha))


def test_a_single_gold_image_is_trained_on_at_once():
    network, method, state, noisy, gold = standing_in(4)
    state.updater.gold_images = 1
    state.updater.epoch = 0
    before = network.scale.clone()
    one = replace(pair_batch(None, gold.labels[:1]), images=gold.images[:1])
    unlabeled = replace(noisy, labels=torch.full_like(noisy.labels, 255))
    method.step(state, unlabeled, one)
    assert not torch.equal(network.scale, before)


@pytest.mark.parametrize("name", ["calibrated", "pairs"])
def test_a_table_of_before_absent_classes_had_a_bin_goes_on(name):
    method, state = started(tiny_network(), name)
    for number in range(2):
        method.step(state, batch(number), gold_batch(100 + number))
    saved = state.state_dict()
    for part in ("pairs", "errors"):
        for counts, held in saved["parts"].get(part, {}).items():
            saved["parts"][part][counts] = held[..., :-1]
    _, other = started(tiny_network(), name)
    other.load_state_dict(saved, classes=3)
    assert torch.equal(other.parts["pairs"].pooled(), state.parts["pairs"].pooled())
