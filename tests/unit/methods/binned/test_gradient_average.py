import pytest
import torch

from metadcseg.methods.binned.gradient_average import RunningMean
from metadcseg.methods.old_states import upgrade_parts


def test_the_mean_has_no_bias_of_its_start() -> None:
    mean, seen = RunningMean(0.9), [torch.tensor([float(n), -1.0]) for n in (4, 1, 7)]
    for gradient in seen:
        got = mean({"weight": gradient})["weight"]
    shares = torch.tensor([0.81, 0.9, 1.0])
    expected = sum(share * value for share, value in zip(shares, seen, strict=True)) / shares.sum()
    torch.testing.assert_close(got, expected)


def test_every_parameter_has_its_own_mean_shape_type_and_order_in_memory() -> None:
    mean = RunningMean(0.5)
    kernel = torch.arange(16.0).view(2, 2, 2, 2).to(memory_format=torch.channels_last)
    gradient = {"kernel": kernel, "a.scale": torch.tensor(3.0, dtype=torch.float64), "bias": torch.ones(2)}
    mean({name: torch.zeros_like(value) for name, value in gradient.items()})
    got = mean(gradient)
    assert list(got) == list(gradient)
    for name, value in gradient.items():
        torch.testing.assert_close(got[name], value * 0.5 / 0.75)
        assert got[name].stride() == value.stride()


def test_without_momentum_nothing_is_kept() -> None:
    mean, gradient = RunningMean(0.0), {"weight": torch.ones(3)}
    assert mean(gradient) == gradient
    assert [value.numel() for value in mean.state_dict().values()] == [0, 1]
    assert mean.weight == 0


def test_saved_and_restored_it_goes_on() -> None:
    one, other = RunningMean(0.5), RunningMean(0.5)
    one({"weight": torch.tensor(2.0)})
    other.load_state_dict(one.state_dict())
    next_ones = [mean({"weight": torch.tensor(5.0)})["weight"] for mean in (one, other)]
    assert next_ones[0] == next_ones[1] == pytest.approx(4.0)


@pytest.mark.parametrize("updates", [0, 2])
def test_what_was_saved_before_it_was_a_module_is_read(updates: int) -> None:
    mean, gradient = RunningMean(0.9), {"a.weight": torch.ones(2, 3), "bias": torch.full((4,), 2.0)}
    sums: dict[str, torch.Tensor] = {}
    weight = 0.0
    for _ in range(updates):
        mean(gradient)
        weight = 0.9 * weight + 0.1
        sums = {name: 0.9 * sums.get(name, torch.zeros(())) + 0.1 * value for name, value in gradient.items()}
    restored = RunningMean(0.9)
    restored.load_state_dict(upgrade_parts({"gold_mean": {"sums": sums, "weight": weight}})["gold_mean"])
    for got, expected in zip(restored(gradient).values(), mean(gradient).values(), strict=True):
        torch.testing.assert_close(got, expected)
