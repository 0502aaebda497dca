"""What is written comes back; a changed byte is noticed; a batch does not depend on where one started."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from metadcseg.data import ROLES, PreparedSet, SetWriter
from metadcseg.data.loading.augmentation import AugmentOptions, draw_warp
from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.loading.input_grid import normalize
from metadcseg.errors import InputError
from metadcseg.warp import Warp

SETTINGS = settings(deadline=None, max_examples=25, derandomize=True)


@st.composite
def _cases(draw):
    """Return the arguments of one ``SetWriter.add``, with one channel and three classes."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "float32"])))
    values = st.floats(-(2.0**99), 2.0**99, width=32) if dtype.kind == "f" else None
    masks = arrays.arrays(np.uint8, (height, width), elements=st.sampled_from([0, 1, 2, 255]))
    numbers = st.floats(1e-3, 1e3)
    role, truth = draw(st.sampled_from(ROLES)), draw(st.none() | masks)
    return {
        "role": role,
        "group": draw(st.text(max_size=5)),
        "image": draw(arrays.arrays(dtype, (height, width, 1), elements=values)),
        "label": draw(masks),
        "truth": truth,
        "given": draw(st.none() | masks) if role == "gold" or truth is not None else None,
        "spacing": draw(st.none() | st.tuples(numbers, numbers)),
    }


_SETS = st.dictionaries(st.text(max_size=8), _cases(), min_size=1, max_size=5)


def _write(out, cases):
    with SetWriter(out, name="x", classes=("background", "a", "b"), channels=1) as writer:
        for name, case in cases.items():
            writer.add(id=name, **case)
    return PreparedSet.open(out)


@SETTINGS
@given(cases=_SETS)
def test_round_trip(cases):
    with tempfile.TemporaryDirectory() as folder:
        prepared = _write(Path(folder) / "set", cases)
        assert prepared.verify() == []
        assert [case.id for case in prepared.cases] == list(cases)
        for case in prepared.cases:
            put = cases[case.id]
            assert (case.role, case.group, case.spacing) == (put["role"], put["group"], put["spacing"])
            held = [kind for kind in ("truth", "given") if getattr(case, f"has_{kind}")]
            assert held == [kind for kind in ("truth", "given") if put[kind] is not None]
            for kind in ("image", "label", *held):
                got = getattr(prepared, kind)(case)
                assert got.dtype == put[kind].dtype
                assert np.array_equal(got, put[kind])


@SETTINGS
@given(cases=_SETS, data=st.data())
def test_any_changed_byte_is_noticed_and_its_file_named(cases, data):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        _write(out, cases)
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
        file = data.draw(st.sampled_from(files))
        content = bytearray(file.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        file.write_bytes(bytes(content))
        try:
            sentences = PreparedSet.open(out).verify()
        except InputError as error:
            sentences = [str(error)]
        assert sentences
        assert all(str(file) in sentence for sentence in sentences)


@SETTINGS
@given(
    count=st.integers(1, 6),
    batch=st.integers(1, 7),
    start=st.integers(0, 7),
    steps=st.none() | st.integers(0, 6),
    epoch=st.integers(0, 3),
)
def test_batches_do_not_depend_on_where_one_starts(count, batch, start, steps, epoch):
    label = np.eye(6, dtype=np.uint8)
    case = {"role": "gold", "group": "", "label": label}
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 99, (count, 6, 6, 1)).astype(np.uint8)
        cases = {str(number): case | {"image": image} for number, image in enumerate(images)}
        view = SegmentationDataset(
            _write(Path(folder) / "set", cases), "gold", 8, augment=AugmentOptions(), seed=1
        )
        whole = list(epoch_batches(view, epoch=epoch, batch=batch, steps=steps))
        rest = list(epoch_batches(view, epoch=epoch, batch=batch, start=start, steps=steps))
    assert len(whole) == (-(-count // batch) if steps is None else steps)
    assert len(rest) == max(0, len(whole) - start)
    for one, other in zip(whole[start:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.indices, other.indices)


@SETTINGS
@given(
    image=arrays.arrays(np.float32, (4, 5, 2), elements=st.floats(-(2.0**99), 2.0**99, width=32)),
)
def test_a_normalized_image_is_always_finite(image):
    values = normalize(image)
    assert np.isfinite(values).all()
    assert np.abs(values.mean(axis=(0, 1), dtype=np.float64)).max() < 1e-5


@SETTINGS
@given(
    rotation=st.floats(0, 180),
    zoom=st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted).map(tuple),
    size=st.integers(2, 96),
    seed=st.integers(0, 2**32),
)
def test_every_drawn_warp_can_be_inverted(rotation, zoom, size, seed):
    options = AugmentOptions(rotation=rotation, zoom=zoom)
    warp = Warp(draw_warp(options, size, torch.Generator().manual_seed(seed))[None])
    square = torch.cat([warp.matrix, torch.tensor([[[0.0, 0.0, 1.0]]])], dim=1)
    back = torch.cat([warp.inverse().matrix, torch.tensor([[[0.0, 0.0, 1.0]]])], dim=1)
    assert torch.allclose(square @ back, torch.eye(3)[None], atol=1e-5)
