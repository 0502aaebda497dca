"""The file of weights: equal weights are equal bytes, which others can read."""

import pytest
import torch
from safetensors.torch import load_file

from metadcseg.training.run.model_file import load_weights, save_weights

WEIGHTS = {
    "one": {"a": torch.arange(3.0)},
    "many": {f"layer.{number}": torch.full((2, number + 1), number / 3) for number in range(12)},
    "kinds": {
        "counter": torch.tensor(7),
        "half": torch.ones(3, dtype=torch.float16),
        "naïve": torch.zeros(1),
    },
}
FACTS = {"epoch": "3", "val_dsc": "0.5", "note": "ä"}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_equal_weights_give_equal_bytes_that_the_library_reads(weights, tmp_path):
    written = set()
    for number in range(
        12
    ):  # the order of the library is random: 12 that agree by chance are one in millions
        file = tmp_path / f"{number}.safetensors"
        save_weights(file, dict(reversed(weights.items())) if number % 2 else weights, FACTS)
        written.add(file.read_bytes())
    assert len(written) == 1
    found, facts = load_weights(file)
    assert facts == FACTS
    for each in (found, load_file(file)):
        assert each.keys() == weights.keys()
        assert all(torch.equal(each[name], weights[name]) for name in weights)
