import pytest

from metadcseg.errors import InputError
from metadcseg.training import TrainingOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch", 0),
        ("gold_batch", -1),
        ("size", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("decay", 0.0),
        ("warmup", -1),
        ("clip", -1.0),
        ("ema_decay", 1.0),
        ("validate_every", 0),
        ("figure_every", -1),
        ("checkpoint_minutes", -1.0),
        ("threads", 0),
        pytest.param("lr", 10**400, id="lr-huge"),
        ("epochs", 2.5),
        ("epochs", "3"),
        ("size", 64.5),
        ("validate_every", 1.5),
        ("batch", 2.5),
        ("batch", True),
        ("lr", "1e-3"),
        ("compile", "no"),
        ("channels_last", 3),
        ("threads", 1.0),
        ("patch", (8, 32)),
        ("patch", [8, 32, 32]),
        ("patch", (8, 32, 0)),
        ("augment", {"rotation": 3}),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(InputError, match=rf"training\.{name} must be .*, got "):
        TrainingOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("accelerator", "gpus", "mps"), ("precision", "16", "32-true, auto, bf16-mixed")],
)
def test_a_bad_choice_is_named_with_those_there_are(name, value, says):
    with pytest.raises(InputError, match=rf"unknown value of training\.{name} '{value}'.*{says}"):
        TrainingOptions(**{name: value})


def test_zero_switches_off():
    options = TrainingOptions(warmup=0, clip=0, ema_decay=0, figure_every=0, checkpoint_minutes=0, momentum=0)
    assert options.clip == 0
