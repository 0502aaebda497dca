"""Training that shows what each annotator drew: the pairs of each are kept apart, and a run goes on bit for bit."""

import numpy as np
import pytest
import torch
from tests.unit.training.helpers import run

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.methods import create_method
from metadcseg.methods.annotator_pairs import AnnotatorPairTable
from metadcseg.training.run.checkpoints import load_checkpoint


def write(out, *, annotated=True):
    """Squares: anna draws them too large, ben too small; three images train and two are verified."""
    with SetWriter(out, name="squares", classes=("background", "organ"), channels=1) as writer:
        for number in range(5):
            mask, larger, smaller = np.zeros((3, 16, 16), np.uint8)
            for drawn, reach in ((mask, 4), (larger, 6), (smaller, 2)):
                drawn[8 - reach : 8 + reach, 7 - reach + number % 2 : 8 + reach] = 1
            gold = number > 2
            held = {"label": mask, "given": larger} if gold else {"label": larger, "truth": mask}
            held |= {"outlines": {"anna": larger, "ben": smaller}} if annotated else {}
            image = (200 * mask[:, :, None]).astype(np.uint8)
            writer.add(id=f"{number}", role="gold" if gold else "train", group="", image=image, **held)
    return PreparedSet.open(out)


def test_a_run_knows_each_annotator_and_goes_on_bit_for_bit(tmp_path):
    prepared, method = write(tmp_path / "set"), create_method("calibrated", warmup=1, dcd=False)

    def trained(name, *epochs):
        for count in epochs:
            changed = {"outlines": "each", "epochs": count, "warmup": 1}
            run(prepared, tmp_path / name, method, changed=changed, resume=count > epochs[0])
        return load_checkpoint(tmp_path / name / "checkpoints")

    whole, parts = trained("whole", 6), trained("parts", 3, 6)
    for name, tensor in whole["network"].items():
        assert torch.equal(tensor, parts["network"][name])
    pairs = AnnotatorPairTable(2)
    held = {n.removeprefix("pairs."): t for n, t in _flat(whole["method"]).items() if n.startswith("pairs.")}
    pairs.load_state_dict(held)
    (anna, ben), _ = pairs.of(torch.eye(2, dtype=torch.bool))
    assert anna[1, 0].max() > ben[1, 0].max()  # of what anna drew more is background
    assert ben[0, 1].max() > anna[0, 1].max()


def _flat(state, prefix=""):
    """Return name.of.part -> tensor, of the parts of a method."""
    found = {}
    for name, value in state.items():
        key = f"{prefix}{name}"
        found |= _flat(value, f"{key}.") if isinstance(value, dict) else {key.removeprefix("parts."): value}
    return found


def test_a_set_without_outlines_is_refused(tmp_path):
    prepared = write(tmp_path / "set", annotated=False)
    with pytest.raises(InputError, match="take 'fused'"):
        run(prepared, tmp_path / "run", create_method("supervised"), changed={"outlines": "each"})


@pytest.mark.parametrize(("name", "kept"), [("metadcseg", "alpha and beta"), ("adele", "labels")])
def test_a_method_that_keeps_something_of_every_pixel_is_refused_and_leaves_no_run(tmp_path, name, kept):
    with pytest.raises(InputError, match=f"'{name}' keeps its {kept} for every pixel"):
        run(write(tmp_path / "set"), tmp_path / "run", create_method(name), changed={"outlines": "each"})
    assert not (tmp_path / "run").exists()
