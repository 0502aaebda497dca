"""TappedNetwork: the features come out, and the module stays as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metadcseg.errors import InputError
from metadcseg.networks import TappedNetwork, find_head


class Strided(nn.Module):
    """Features at half the resolution of the logits; can return a list and can be told to fail."""

    def __init__(self, answer: str = "tensor") -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 2, stride=2)
        self.head = nn.Conv2d(4, 2, 1)
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        logits = nn.functional.interpolate(self.head(self.body(images)), scale_factor=2.0)
        if self.answer == "fail":
            raise RuntimeError("failed inside")
        return {
            "tensor": logits,
            "list": [logits, logits[:, :, ::2, ::2]],
            "nested": ([logits],),
            "empty": [],
            "mapping": {"out": logits},
            "small": logits[:, :, 1:],
            "flat": logits.flatten(1),
        }[self.answer]


class TokenHead(nn.Module):
    """A linear head on channels-last features, called with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 1)
        self.head = nn.Linear(4, 2)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(input=self.body(images).movedim(1, -1)).movedim(-1, 1)


def _hooks(module: nn.Module) -> int:
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())


@pytest.mark.parametrize("answer", ["tensor", "list", "nested"])
def test_first_tensor_is_the_logits_and_features_follow_its_resolution(answer: str) -> None:
    network = TappedNetwork(Strided(answer), "head")
    images = torch.randn(3, 1, 8, 6)
    output = network(images)
    assert output.logits.shape == (3, 2, 8, 6)
    assert output.features.shape == (3, 4, 8, 6)
    coarse = network.module.body(images)
    expected = nn.functional.interpolate(coarse, size=[8, 6], mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.features, expected)


def test_linear_head_gives_channels_first_features() -> None:
    network = TappedNetwork(TokenHead(), "head")
    images = torch.randn(2, 1, 5, 3)
    torch.testing.assert_close(network(images).features, network.module.body(images))


def test_no_hook_stays_after_success_or_failure() -> None:
    for answer in ("tensor", "fail"):
        module = Strided(answer)
        try:
            TappedNetwork(module, "head")(torch.zeros(1, 1, 8, 8))
        except RuntimeError as error:
            assert str(error) == "failed inside"  # noqa: PT017
        assert _hooks(module) == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("empty", "must return a tensor of logits.*got list"),
        ("mapping", "got dict"),
        ("small", r"\(1, L, 8, 8\), got \(1, 2, 7, 8\)"),
        ("flat", r"got \(1, 128\)"),
    ],
)
def test_wrong_answers_are_named(answer: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TappedNetwork(Strided(answer), "head")(torch.zeros(1, 1, 8, 8))


def test_head_that_is_never_called() -> None:
    with pytest.raises(InputError, match="'unused' is never called by TokenHead"):
        TappedNetwork(TokenHead(), "unused")(torch.zeros(1, 1, 4, 4))


def test_head_that_sees_no_maps() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(1, 2, 1)
            self.inner = nn.Linear(2, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.body(images)
            return maps + self.inner(maps.mean(dim=(2, 3)))[:, :, None, None]

    with pytest.raises(InputError, match=r"must receive features \(N, D, h, w\), got \(1, 2\)"):
        TappedNetwork(Pooled(), "inner")(torch.zeros(1, 1, 4, 4))


def test_images_without_a_batch_axis() -> None:
    with pytest.raises(InputError, match=r"\(N, C, H, W\), got \(1, 8, 8\)"):
        TappedNetwork(Strided(), "head")(torch.zeros(1, 8, 8))


def test_unknown_head_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'head'"):
        TappedNetwork(Strided(), "heads")


def test_default_head_prefers_the_number_of_classes() -> None:
    module = nn.ModuleDict({"decoder": nn.Conv2d(4, 3, 1), "auxiliary": nn.Conv2d(4, 7, 1)})
    assert find_head(module, classes=3) == "decoder"
    assert find_head(module, classes=2) == "auxiliary"
    with pytest.raises(InputError, match="no convolution or linear layer"):
        find_head(nn.Sequential(nn.ReLU()), classes=2)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_forward_mode_derivative_equals_finite_difference() -> None:
    torch.manual_seed(0)
    network = TappedNetwork(Strided(), "head").double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    point = {name: value.detach() for name, value in network.named_parameters()}
    direction = {name: torch.randn_like(value) for name, value in point.items()}

    def features_and_logits(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        output = functional_call(network, parameters, (images,))
        return output.features, output.logits

    _, tangents = torch.func.jvp(features_and_logits, (point,), (direction,))
    step = 1e-5
    ahead, behind = (
        features_and_logits({name: point[name] + sign * step * direction[name] for name in point})
        for sign in (1, -1)
    )
    for tangent, plus, minus in zip(tangents, ahead, behind, strict=True):
        torch.testing.assert_close(tangent, (plus - minus) / (2 * step), rtol=1e-6, atol=1e-8)
    assert _hooks(network) == 0


def test_copies_are_independent() -> None:
    network = TappedNetwork(Strided(), "head")
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.module.head.weight.zero_()
    images = torch.ones(1, 1, 4, 4)
    assert not torch.equal(network(images).logits, twin(images).logits)
