"""Any method in a loop of one's own: the trainer's bits, nothing to remember, and a sentence for every mistake."""

import copy
import io
import subprocess
import sys
import warnings
from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tests.contract.tools import CLASSES, HEADS, SIZE, batch, tiny_network, volume_batch
from tests.unit.training.helpers import NETWORK, make_set, options
from torch import nn

from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.errors import InputError
from metadcseg.methods import METHODS, MethodInfo, MethodState, StepReport, create_method
from metadcseg.methods.common import class_probabilities
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.networks import Output, create_networks, members_of
from metadcseg.own_loop import attach
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.training import train
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.randomness import derive_seed
from metadcseg.training.run.checkpoints import load_checkpoint
from metadcseg.training.updater import lr_factor
from metadcseg.warp import Warp

IMAGES, GOLD, GOLD_BATCH = 10, 6, 4

pytestmark = pytest.mark.filterwarnings("ignore:method .* learns from the masks")


@dataclass(frozen=True)
class PerPixel:
    """Cross-entropy times a number that is kept for every pixel and grows where the label is improbable."""

    name: ClassVar[str] = "per_pixel"

    @property
    def info(self) -> MethodInfo:
        return MethodInfo(needs_gold=False, supervises_gold=False)

    def start(self, network: nn.Module, updater: Any, generator: Any, storage: Any) -> MethodState:
        state = MethodState(network, updater, generator)
        state.maps = storage.open("kept")  # type: ignore[attr-defined]
        return state

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps:
        kept = state.maps.read(noisy.indices.tolist())  # type: ignore[attr-defined]
        moved = noisy.warp.apply(kept.unsqueeze(1), "nearest", size=noisy.labels.shape[1:])[:, 0]
        return WeightMaps(1 + moved, moved)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        weights = self.weights(state, noisy)
        logits = state.network(noisy.images).logits
        losses = nn.functional.cross_entropy(logits, noisy.labels, ignore_index=IGNORE, reduction="none")
        loss = (losses * weights.alpha).mean()
        state.updater.backward(loss)
        state.updater.step()
        maps, images = state.maps, noisy.indices.tolist()  # type: ignore[attr-defined]
        change = noisy.warp.inverse().apply(losses.detach().unsqueeze(1), "nearest", size=maps.grid)[:, 0]
        maps.write(images, maps.read(images) + change)
        return StepReport({"loss": loss.detach()}, weights)

    def predict(self, state: MethodState, images: torch.Tensor) -> torch.Tensor:
        return class_probabilities(state.network, images)


ALL = [
    *(
        create_method(name) for name in METHODS if name not in HEADS
    ),  # those need a network with heads of theirs
    create_method("metadcseg", warmup=0),  # no default everywhere
    create_method("supervised", gold="mixed"),
    PerPixel(),
]
every_method = pytest.mark.parametrize("method", ALL, ids=lambda method: repr(method).partition("(")[0])


ALONE = [name for name in METHODS if create_method(name).info.networks == 1 and name not in HEADS]


def network(seed: int = 0) -> nn.Module:
    return tiny_network(seed).module


def networks(method: Any, seed: int = 0) -> Any:
    """What a method is attached to: a tiny network, or a list of so many as it trains."""
    count = (create_method(method) if isinstance(method, str) else method).info.networks
    return network(seed) if count == 1 else [network(seed + 10 * place) for place in range(count)]


def attached(method: Any = "supervised", model: Any = None, **changed: Any) -> Any:
    """A method attached to tiny networks with their optimizer, Adam unless another is given."""
    model = model or (network() if isinstance(method, type) else networks(method))
    held = nn.ModuleList(model if isinstance(model, list) else [model])
    optimizer = changed.pop("optimizer", None) or torch.optim.Adam(held.parameters(), lr=0.01)
    numbers = {"classes": CLASSES, "images": IMAGES, "gold_images": GOLD, "gold_batch": GOLD_BATCH}
    return attach(method, model, optimizer, **(numbers | changed))


def step(loop: Any, number: int = 0, **changed: Any) -> StepReport:
    noisy, gold = batch(number, first=2 * number % IMAGES), batch(100 + number, GOLD_BATCH)
    given = {
        "edges": noisy.edges,
        "warp": noisy.warp,
        "gold": (gold.images, gold.labels, gold.indices),
    } | changed
    return loop.step(noisy.images, noisy.labels, noisy.indices, **given)


def same(one: Any, two: Any) -> bool:
    """Whether two nests of tensors and plain values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        fits = one.dtype == two.dtype and one.shape == two.shape
        return fits and bool(
            ((one == two) | (one.isnan() & two.isnan())).all()
        )  # centers not seen yet are NaN
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("sets") / "disks", truth=True, edges=True)


@every_method
def test_the_trainers_result_bit_for_bit(method, disks, tmp_path):
    chosen, seed = options(ema_decay=0.9), 3
    train(disks, method, NETWORK, chosen, tmp_path / "run", seed=seed)
    saved = load_checkpoint(tmp_path / "run" / "checkpoints")

    noisy = SegmentationDataset(disks, "train", chosen.size, augment=chosen.augment, seed=seed)
    gold = SegmentationDataset(disks, "gold", chosen.size, augment=chosen.augment, seed=seed)
    initial = torch.Generator().manual_seed(derive_seed(seed, "network"))
    made = create_networks(NETWORK, noisy.channels, noisy.classes, method.info.networks, initial).train()
    model = [member.module for member in members_of(made)]
    optimizer = torch.optim.SGD(
        made.parameters(), lr=chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda epoch: lr_factor(epoch, epochs=chosen.epochs, warmup=chosen.warmup, decay=chosen.decay),
    )
    loop = attach(
        method,
        model if len(model) > 1 else model[0],
        optimizer,
        classes=2,
        images=len(noisy),
        gold_images=len(gold),
        gold_batch=chosen.gold_batch,
        ema_decay=chosen.ema_decay,
        clip=chosen.clip,
        seed=derive_seed(seed, "method"),
    )
    for epoch in range(chosen.epochs):
        given = list(epoch_batches(noisy, epoch=epoch, batch=chosen.batch))
        golden = epoch_batches(gold, epoch=epoch, batch=chosen.gold_batch, steps=len(given))
        for number, (part, verified) in enumerate(zip(given, golden, strict=True)):
            torch.manual_seed(derive_seed(seed, "step", epoch, number))  # the network has dropout
            assert loop.epoch == epoch
            loop.step(
                part.images,
                part.labels,
                part.indices,
                gold=(verified.images, verified.labels, verified.indices),
                warp=part.warp,
                edges=part.edges,
            )
        schedule.step()
    state = loop.state_dict()
    prefix = "module." if len(model) == 1 else ""
    ours = {f"{prefix}{name}": value for name, value in state["network"].items()}
    assert same(ours, dict(saved["network"]))
    assert same(state["updater"]["ema_model"], saved["updater"]["ema_model"])
    assert same(state["updater"]["optimiser"]["state"], saved["updater"]["optimiser"]["state"])
    assert loop.steps == saved["updater"]["steps"]
    assert same(state["method"], saved["method"])
    for name, maps in saved["storage"].items():
        kept = RunStorage(tmp_path / "run" / "weights", len(noisy), noisy.grid)
        kept.load_state_dict({name: maps})
        numbers = list(range(len(noisy)))
        assert same(loop._storage.open(name).read(numbers), kept.open(name).read(numbers))
        if not method.info.warmup and method.name != "adele":  # which corrects nothing so early
            assert loop._storage.open(name).read(numbers).abs().max() > 0


@every_method
def test_a_saved_state_goes_on_to_the_same_bits(method):
    through, stopped = attached(method), attached(method)
    for number in range(7):
        step(through, number)
        if number < 4:
            step(stopped, number)
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    resumed = attached(method, networks(method, seed=9))
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert (resumed.steps, resumed.epoch) == (stopped.steps, stopped.epoch)
    for number in range(4, 7):
        step(resumed, number)
    assert same(resumed.state_dict(), through.state_dict())
    assert not same(resumed.state_dict(), stopped.state_dict())


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.NAdam, torch.optim.SGD])
def test_a_saved_state_has_what_any_optimizer_keeps(kind):
    """Adafactor keeps a row and a column for a matrix, NAdam scalars, SGD without momentum nothing."""
    loops = []
    for seed in (0, 9):
        model = network(seed)
        loops.append(attached("supervised", model, optimizer=kind(model.parameters(), lr=0.01)))
    first, second = loops
    for number in range(2):
        step(first, number)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for loop in loops:
        step(loop, 2)
    assert same(first.state_dict(), second.state_dict())


def test_a_method_with_a_warmup_learns_weights_when_it_is_over():
    loop = attached(create_method("metadcseg", warmup=2))
    assert "warm-up before epoch 2" in repr(loop)
    for number in range(11):
        report = step(loop, number)
        at_rest = report.maps is None or bool((report.maps.beta == 0).all())
        assert at_rest or number >= 10
    assert not at_rest


def test_the_state_of_something_else_is_refused():
    state = attached("supervised").state_dict()
    with pytest.raises(InputError, match=r"attached with .*'supervised'.* but this one was with .*'l2b'"):
        attached("l2b").load_state_dict(state)
    with pytest.raises(InputError, match="'images': 11"):
        attached("supervised", images=11).load_state_dict(state)


@every_method
def test_steps_and_epochs_are_counted_by_what_was_seen(method):
    loop = attached(method)
    epochs = []
    for number in range(11):  # 2 of 10 images in each
        epochs.append(loop.epoch)
        step(loop, number)
        assert loop._updater.epoch == epochs[-1]
    assert epochs == [0] * 5 + [1] * 5 + [2]
    assert loop.steps == loop._updater.steps
    assert loop.steps % 11 == 0
    assert f"{loop.steps} optimizer steps in 2 epochs" in repr(loop)
    assert ("warm-up before epoch" in repr(loop)) == bool(method.info.warmup)


@every_method
def test_predicts_with_the_average_and_moves_nothing(method):
    loop = attached(method)
    step(loop)
    before = copy.deepcopy(loop.state_dict())
    images = batch(50).images
    probabilities = loop.predict(images)
    with torch.no_grad():
        average, own = loop.ema_model(images), loop.network(images).logits.softmax(dim=1)
        expected = (average if isinstance(average, torch.Tensor) else average.logits).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected)
    assert not torch.allclose(probabilities, own)
    noisy = batch(0)
    maps = loop.weights(noisy.images, noisy.labels, noisy.indices, warp=noisy.warp)
    assert maps is None or maps.alpha.shape == noisy.labels.shape
    assert same(loop.state_dict(), before)
    assert all(member.module.training for member in members_of(loop.network))
    without = attached(PerPixel(), ema_decay=0)
    assert without.ema_model is None
    step(without)
    with torch.no_grad():
        torch.testing.assert_close(without.predict(images), without.network(images).logits.softmax(dim=1))


def test_weights_of_pixels_move_with_the_images():
    loop = attached(PerPixel())
    noisy = batch(0)  # the first image is mirrored
    step(loop)
    kept = loop.weights(noisy.images, noisy.labels, noisy.indices, warp=Warp.identity(2)).beta
    shown = loop.weights(noisy.images, noisy.labels, noisy.indices, warp=noisy.warp).beta
    assert kept.abs().max() > 0
    assert torch.equal(shown, torch.stack([kept[0].flip(1), kept[1]]))
    with pytest.raises(InputError, match=r"'per_pixel' keeps numbers for every pixel .* Warp.identity"):
        step(loop, warp=None)


def test_storage_in_memory_rounds_as_the_run_files_do(tmp_path):
    values = torch.tensor([[[1e-8, 0.1, -0.3], [1e6, -1e6, 65519.0]]])
    memory, files = MemoryStorage((2, 3)), RunStorage(tmp_path, 4, (2, 3))
    for storage in (memory, files):
        storage.open("a").write([2], values)
    assert same(memory.open("a").read([1, 2]), files.open("a").read([1, 2]))
    assert memory.state_dict()["a"]["maps"].dtype == torch.float16
    with pytest.raises(InputError, match="maps to keep"):
        memory.open("a").write([0], torch.zeros(1, 3, 3))
    with pytest.raises(InputError, match="give input_grid"):
        MemoryStorage().open("a").read([0])


def test_volumes_and_their_patches():
    def model() -> nn.Module:
        return tiny_network(axes=3).module

    noisy, gold = volume_batch(0), volume_batch(1)
    given = {"warp": noisy.warp, "gold": (gold.images, gold.labels, gold.indices)}
    for method in (one for one in ALL if one.info.networks == 1):
        loop = attached(method, model(), input_grid=(SIZE,) * 3)
        report = loop.step(noisy.images, noisy.labels, noisy.indices, **given)
        assert report.scalars["loss"].isfinite()
    with pytest.raises(InputError, match="give input_grid"):
        attached(PerPixel(), model()).step(noisy.images, noisy.labels, noisy.indices, **given)


@pytest.mark.parametrize("answer", ["tensor", "tuple", "mapping", "output"])
def test_what_a_model_may_return(answer):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, CLASSES, 1)

        def forward(self, images: torch.Tensor) -> object:
            features = self.body(images).relu()
            logits = self.head(features)
            other = {"tuple": (logits, features), "mapping": {"aux": features, "out": logits}}
            return (other | {"tensor": logits, "output": Output(logits, features)})[answer]

    losses = {}
    for method in ALONE:
        torch.manual_seed(0)
        loop = attached(method, Model())
        losses[method] = [step(loop, number).scalars["loss"].item() for number in range(2)]
    if answer == "tensor":
        test_what_a_model_may_return.losses = losses
    assert losses == test_what_a_model_may_return.losses


def test_the_head_is_said_where_it_is_a_guess():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(2, 5, 1)
            self.main, self.deep = nn.Conv2d(5, CLASSES, 1), nn.Conv2d(5, CLASSES, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.main(self.body(images))

    with pytest.warns(UserWarning, match=r"2 layers of TwoHeads .*\(main, deep\): 'deep' is taken") as caught:
        loop = attached("supervised", TwoHeads())
    assert caught[0].filename == __file__
    with pytest.raises(InputError, match=r"'deep' is never called"):
        step(loop)
    step(attached("supervised", TwoHeads(), head="main"))
    with pytest.raises(InputError, match=r"unknown network.head 'mian': did you mean 'main'"):
        attached("supervised", TwoHeads(), head="mian")

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.zeros(CLASSES, 2, 1, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(images, self.kernel)

    with pytest.raises(InputError, match=r"Bare has no convolution or linear layer inside.*head='NAME'"):
        attached("supervised", Bare())
    known = tiny_network()
    assert attached("supervised", known).network is known
    with pytest.raises(InputError, match="head is for models that do not know it"):
        attached("supervised", known, head="0")


def partial_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([*model.parameters()][:-2], lr=0.1)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"method": "metadcsg"}, "unknown method 'metadcsg': did you mean 'metadcseg'"),
        ({"method": PerPixel}, "method must be a name or an object with options"),
        ({"method": "l2b", "gold_images": 0}, r"'l2b' needs verified images: .*gold_images.* got 0 and 4"),
        ({"method": "l2b", "gold_batch": 0}, r"'l2b' needs verified images: .*gold_batch.* got 6 and 0"),
        ({"images": 0}, "images must be a whole number of at least 1, got 0"),
        ({"classes": 1}, "classes must be a whole number of at least 2, got 1"),
        ({"gold_batch": 2.0}, "gold_batch must be a whole number of at least 0, got 2.0"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1"),
        ({"clip": -1.0}, "clip at least 0, got 0.99 and -1"),
    ],
)
def test_what_attach_refuses(changed, sentence):
    with pytest.raises(InputError, match=sentence):
        attached(**changed)


def test_models_and_optimizers_that_attach_refuses():
    model = network()
    with pytest.raises(InputError, match=r"lacks 2 trainable parameters of Sequential, such as '4.weight'"):
        attached("supervised", model, optimizer=partial_optimizer(model))
    for parameter in [*model.parameters()][-2:]:
        parameter.requires_grad_(False)
    attached("supervised", model, optimizer=partial_optimizer(model))
    with pytest.raises(InputError, match=r"lacks 6 trainable parameters"):
        attached("supervised", network(), optimizer=torch.optim.SGD(network().parameters(), lr=0.1))
    with pytest.raises(InputError, match=r"DataParallel stands between .*\(model.module, "):
        attached("supervised", nn.DataParallel(network()))
    with pytest.raises(InputError, match=r"OptimizedModule stands between"):
        attached("supervised", torch.compile(network(), backend="eager"))
    model = network()
    model.memory = model(torch.zeros(1, 2, SIZE, SIZE))  # not a leaf
    with pytest.raises(
        InputError, match=r"Sequential cannot be copied for the moving average .* ema_decay=0"
    ):
        attached("supervised", model)


NOISY = batch(0)
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"images": NOISY.images.numpy()}, "images must be a torch.Tensor, got ndarray"),
    ({"images": NOISY.images[0]}, r"images must have the shape \(any, any, any, any\), got \(2, 16, 16\)"),
    ({"images": NOISY.images.byte()}, "images must be float and normalized, got torch.uint8"),
    ({"images": NOISY.images[:0]}, "images must be at least one, got none"),
    ({"labels": NOISY.labels[:1]}, r"labels must have the shape \(2, 16, 16\), got \(1, 16, 16\)"),
    ({"labels": NOISY.labels.int()}, "labels must be int64 class numbers, got torch.int32"),
    ({"labels": NOISY.labels + 1}, "labels must be from 0 to 2, or 255 where unknown, got 1 to 3"),
    ({"labels": NOISY.labels - 1}, "got -1 to 1"),
    (
        {"indices": torch.tensor([0, 10])},
        "indices must be from 0 to 9, the numbers of the 10 images .* got 0 to 10",
    ),
    ({"indices": torch.tensor([-1, 1])}, "got -1 to 1"),
    ({"indices": torch.tensor([0.0, 1.0])}, "indices must be int64"),
    ({"indices": torch.tensor([0])}, r"indices must have the shape \(2\), got \(1,\)"),
    ({"warp": Warp.identity(3)}, r"warp.matrix must have the shape \(2, 2, 3\)"),
    ({"edges": 255 * torch.ones(2, SIZE, SIZE)}, "edges must be from 0 to 1, got 255 to 255"),
    ({"label_confidence": torch.zeros(2, SIZE, SIZE).double()}, "label_confidence must be float32"),
    ({"label_confidence": torch.zeros(2, SIZE)}, r"label_confidence must have the shape \(2, 16, 16\)"),
    ({"gold": None}, r"'l2b' needs verified images in every step: give gold="),
    ({"gold": (NOISY.images, NOISY.labels)}, r"gold must be \(images, masks, indices\), got 2 parts"),
    ({"gold": (NOISY.images, NOISY.labels.float(), NOISY.indices)}, "gold: labels must be int64"),
    (
        {"gold": (NOISY.images, NOISY.labels, NOISY.indices + 5)},
        "gold: indices must be from 0 to 5, .* 6 images",
    ),
    ({"gold": 3 * (batch(0, 5).images,)}, "gold has 5 images, but attach was told gold_batch=4"),
]


@dataclass(frozen=True)
class Looking:
    """Looks at gold and learns nothing from it."""

    name: ClassVar[str] = "looking"
    pairs: bool = True

    @property
    def info(self) -> MethodInfo:
        return MethodInfo(needs_gold=True, supervises_gold=False, uses_pairs=self.pairs)

    def start(self, network: nn.Module, updater: Any, generator: Any, storage: Any) -> MethodState:
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        state.seen = gold  # type: ignore[attr-defined]
        return StepReport({})


def test_masks_that_verified_ones_replaced_reach_a_method_that_asks_and_no_other():
    images, labels, indices = NOISY.images, NOISY.labels, NOISY.indices
    given = labels.roll(1, dims=2)
    for pairs in (True, False):
        for gold in ((images, labels, indices), (images, labels, indices, given)):
            loop = attached(Looking(pairs))
            silent = not pairs or len(gold) == 4
            with warnings.catch_warnings(record=True, action="always") as told:
                step(loop, gold=gold)
            assert (not told) == silent
            seen = loop._state.seen
            assert torch.equal(seen.labels, labels)
            assert (seen.given is not None) == (pairs and len(gold) == 4)
    loop = attached(Looking())
    step(loop, gold=(images, labels, indices, given))
    assert torch.equal(loop._state.seen.given, given)


@pytest.mark.parametrize(("name", "ways"), [("calibrated", True), ("pairs", False), ("glc", False)])
def test_that_pairs_are_missing_is_said_once(name, ways):
    loop = attached(name)
    with pytest.warns(UserWarning, match=f"method '{name}' learns from the masks that verified") as told:
        step(loop)
    (warning,) = told
    assert warning.filename == __file__
    assert ("create_method('calibrated', pairs=False)" in str(warning.message)) == ways
    with warnings.catch_warnings(action="error"):
        step(loop)


def test_where_no_pairs_are_asked_for_nothing_is_said():
    with warnings.catch_warnings(action="error"):
        for method in ("l2b", create_method("calibrated", pairs=False)):
            step(attached(method))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (NOISY.labels.float(), "gold: given must be int64, got float32"),
        (NOISY.labels[:1], r"gold: given must have the shape \(2, 16, 16\)"),
        (NOISY.labels + 7, "gold: given must be from 0 to 2, or 255 where unknown, got 7 to 9"),
        (NOISY.labels.numpy(), "gold: given must be a torch.Tensor, got ndarray"),
    ],
)
def test_masks_that_cannot_have_been_replaced_are_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        step(attached(Looking()), gold=(NOISY.images, NOISY.labels, NOISY.indices, given))


@pytest.mark.parametrize(("fault", "sentence"), FAULTS)
def test_what_a_step_refuses_and_that_nothing_has_moved(fault, sentence):
    loop = attached("l2b")
    before = copy.deepcopy(loop.state_dict())
    given = {
        "images": NOISY.images,
        "labels": NOISY.labels,
        "indices": NOISY.indices,
        "gold": (NOISY.images, NOISY.labels, NOISY.indices),
    }
    with pytest.raises(InputError, match=sentence):
        loop.step(**(given | fault))
    assert same(loop.state_dict(), before)
    loop.step(**given)


def test_a_model_left_in_evaluation_mode_is_refused():
    model = network()
    loop = attached("supervised", model)
    model.eval()
    with pytest.raises(InputError, match=r"in evaluation mode: call model.train\(\)"):
        step(loop)
    model.train()
    model[1].eval()  # a part that stays frozen is the user's own business
    step(loop)


@every_method
def test_steps_in_half_precision(method):
    loop, exact = attached(method), attached(method)
    for number in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            report = step(loop, number)
        torch.testing.assert_close(
            report.scalars["loss"].float(), step(exact, number).scalars["loss"], rtol=0.1, atol=0.1
        )
    assert all(parameter.dtype == torch.float32 for parameter in loop.network.parameters())


def test_unknown_pixels_and_confidence_count_as_they_should():
    labels = NOISY.labels.clone()
    labels[:, :8] = IGNORE
    loop, other = attached("supervised"), attached("supervised")
    one = loop.step(NOISY.images, labels, NOISY.indices)
    confidence = (labels != IGNORE).float()
    two = other.step(NOISY.images, NOISY.labels, NOISY.indices, label_confidence=confidence)
    assert one.scalars["pixel"] > two.scalars["pixel"] > 0  # the mean is over all known pixels


def test_a_gradient_that_is_there_already_counts_and_is_cleared():
    model, plain = network(), network()
    sgd = {"lr": 0.1, "momentum": 0.0}
    loop = attached("supervised", model, clip=0, optimizer=torch.optim.SGD(model.parameters(), **sgd))
    other = attached("supervised", plain, clip=0, optimizer=torch.optim.SGD(plain.parameters(), **sgd))
    sum(parameter.sum() for parameter in model.parameters()).backward()
    step(loop)
    step(other)
    for moved, less in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(less - moved, torch.full_like(moved, 0.1))
        assert moved.grad is None


def test_the_learning_rate_is_the_optimizers_largest():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": [*model[2:].parameters()]}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    loop = attached("supervised", model, optimizer=optimizer)
    assert loop._updater.lr == 0.5
    optimizer.param_groups[0]["lr"] = 0.01
    assert loop._updater.lr == 0.1


HEAVY = (
    "lightning lightning_fabric monai zarr jsonargparse rich safetensors yaml PIL matplotlib nibabel "
    "SimpleITK lightning_utilities h5py pydicom tensorboard requests jinja2 contourpy ray"
)
BARE = f"""
import sys
for name in {HEAVY.split()!r}:
    sys.modules[name] = None
import torch
from metadcseg.methods import METHODS, create_method
from metadcseg.own_loop import attach
from metadcseg.warp import Warp
draw = torch.Generator().manual_seed(0)
images, labels = torch.randn(4, 1, 16, 16, generator=draw), torch.zeros(4, 16, 16, dtype=torch.int64)
labels[:, 4:10, 4:12] = 1
numbers = torch.arange(4)
for name in set(METHODS) - {set(HEADS)!r}:
    models = torch.nn.ModuleList(
        torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1))
        for _ in range(create_method(name).info.networks)
    )
    optimizer = torch.optim.SGD(models.parameters(), lr=0.1)
    given = list(models) if len(models) > 1 else models[0]
    loop = attach(name, given, optimizer, classes=2, images=4, gold_images=4, gold_batch=4)
    for _ in range(3):
        loop.step(images, labels, numbers, gold=(images, labels, numbers, labels), warp=Warp.identity(4))
    loop.predict(images)
    loop.load_state_dict(loop.state_dict())
"""


def test_needs_torch_numpy_and_scipy_only():
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr


def test_learns_with_loaders_of_torch():
    draw = np.random.default_rng(0)
    labels = torch.from_numpy((draw.random((12, 1, 4, 4)) < 0.4).repeat(4, 2).repeat(4, 3)[:, 0]).long()
    images = (2.0 * labels - 1).unsqueeze(1).repeat(1, 2, 1, 1) + 0.5 * torch.randn(12, 2, 16, 16)
    data = torch.utils.data.TensorDataset(images, labels, torch.arange(12))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loop = attach("supervised", model, optimizer, classes=2, images=12)
    first = loop.step(images, labels, torch.arange(12)).scalars["loss"]
    for _ in range(10):
        for (x, y, i), _gold in zip(loader, cycle(loader), strict=False):
            last = loop.step(x, y, i).scalars["loss"]
    assert last < 0.5 * first


@pytest.mark.parametrize("name", ["calibrated", "pairs", "metadcseg", "binned", "meta_weight_net"])
def test_weights_are_0_where_ignored_and_hold_the_confidence_of_labels(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loop = attach(name, model, optimizer, classes=2, images=4, gold_images=4, gold_batch=4)
    images, labels = torch.randn(4, 1, 16, 16), torch.randint(0, 2, (4, 16, 16))
    labels[:, :8] = 255
    gold = (images, torch.randint(0, 2, (4, 16, 16)), torch.arange(4), torch.randint(0, 2, (4, 16, 16)))
    said = {"warp": Warp.identity(4)}
    halved = {**said, "label_confidence": torch.full((4, 16, 16), 0.5)}
    step = loop.step(images, labels, torch.arange(4), gold=gold, **halved)
    whole = loop.weights(images, labels, torch.arange(4), **said)
    half = loop.weights(images, labels, torch.arange(4), **halved)
    for maps in (step.maps, whole, half):
        assert not maps.alpha[:, :8].any()
        assert not maps.beta[:, :8].any()
    assert whole.alpha[:, 8:].mean() > 0
    torch.testing.assert_close(half.alpha, whole.alpha / 2)
    torch.testing.assert_close(half.beta, whole.beta)


def test_what_is_no_tensor_optimizer_warp_or_state_is_a_sentence():
    loop = attached()
    images = torch.zeros(2, 2, SIZE, SIZE)
    for wrong, said in (
        (images.double(), "images are torch.float64 and the network torch.float32"),
        (images.byte(), "must be float and normalized, got torch.uint8"),
        (images.numpy(), "must be a torch.Tensor, got ndarray"),
    ):
        with pytest.raises(InputError, match=said):
            loop.predict(wrong)
    labels, numbers = torch.zeros(2, SIZE, SIZE, dtype=torch.int64), torch.arange(2)
    with pytest.raises(InputError, match=r"images are torch.float64"):
        loop.step(images.double(), labels, numbers)
    with pytest.raises(InputError, match=r"warp must be a metadcseg.Warp, got Tensor"):
        loop.step(images, labels, numbers, warp=torch.eye(2, 3)[None])
    with pytest.raises(InputError, match="no state of an attached method: it lacks method, network"):
        loop.load_state_dict({})
    with pytest.raises(InputError, match=r"optimizer must be a torch.optim.Optimizer, got NoneType"):
        attach("supervised", network(), None, classes=CLASSES, images=4, head="4")
