"""Trust in given labels: from files and tables to the batches that methods see."""

import h5py
import nibabel
import numpy as np
import pytest
import torch
from tests.unit.data.folders import codes, make_folder, save, write

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.pipeline import prepare_folder, prepare_scan
from metadcseg.data.prepare.reading import load_image, load_label_confidence
from metadcseg.data.sources.case import RawCase
from metadcseg.data.sources.folder import scan_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

SIZE = 24


def halves(height=20, width=24, dtype=np.uint8):
    """Return trust of 0 on the left, full on the right."""
    label_confidence = np.zeros((height, width), dtype)
    label_confidence[:, width // 2 :] = 255
    return label_confidence


@pytest.fixture
def folder(tmp_path):
    root = make_folder(tmp_path / "mine", gold=1)
    write(
        root / "splits.csv",
        "id,role\n" + "".join(f"case{n:02d},{'gold' if not n else 'train'}\n" for n in range(12)),
    )
    save(root / "label_confidence/case01.png", halves())
    save(root / "label_confidence/case00.png", halves())  # a gold case: verified, whatever this says
    write(root / "label_confidence.csv", "id,label_confidence\ncase02,0.2\n")
    return root


def test_trust_reaches_the_batches(folder, tmp_path):
    prepare_folder(folder, tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert [case.id for case in prepared.cases if case.has_label_confidence] == ["case00", "case01", "case02"]
    view = SegmentationDataset(prepared, "train", SIZE)
    label_confidence = {view.ids[row]: view.sample(row, 0).label_confidence for row in range(len(view))}
    assert label_confidence["case01"][:, : SIZE // 2].eq(0).all()
    assert label_confidence["case01"][:, SIZE // 2 :].eq(1).all()
    assert torch.allclose(label_confidence["case02"], torch.full((SIZE, SIZE), 0.2))
    assert label_confidence["case03"].eq(1).all()
    (batch,) = epoch_batches(view, epoch=0, batch=11)
    assert batch.label_confidence.shape == batch.labels.shape
    (gold,) = epoch_batches(SegmentationDataset(prepared, "gold", SIZE), epoch=0, batch=1)
    assert gold.label_confidence is None
    moved = SegmentationDataset(prepared, "train", SIZE, augment=AugmentOptions(rotation=0, zoom=(0, 0)))
    row = view.ids.index("case01")
    shown = {bool(moved.sample(row, epoch).label_confidence[0, 0]) for epoch in range(8)}
    assert shown == {False, True}  # mirrored with the image


def test_zero_and_one_are_not_at_all_and_fully(folder, tmp_path):
    save(
        folder / "label_confidence/case01.png", halves() // 255
    )  # a mask of good pixels, as any tool exports it
    prepare_folder(folder, tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    case = next(case for case in prepared.cases if case.id == "case01")
    assert np.array_equal(prepared.label_confidence(case), halves())


def test_a_set_without_trust_has_none(tmp_path):
    prepare_folder(make_folder(tmp_path / "mine"), tmp_path / "set", edges="none")
    (batch, *_) = epoch_batches(
        SegmentationDataset(PreparedSet.open(tmp_path / "set"), "train", SIZE), epoch=0, batch=4
    )
    assert batch.label_confidence is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("label_confidence/case03.png", halves(30), "got 1 for each of 30 x 24"),
        ("label_confidence/case99.png", halves(), "there is no image 'case99'"),
        ("label_confidence/case02.png", halves(), "label_confidence.csv has a number for 'case02', too"),
        (
            "label_confidence.csv",
            "id,label_confidence\ncase02,1.5\n",
            "line 2: label_confidence is a number from 0 to 1, got '1.5'",
        ),
        (
            "label_confidence.csv",
            "id,label_confidence\ncase02,much\n",
            "line 2: label_confidence is a number from 0 to 1",
        ),
        (
            "label_confidence.csv",
            "id,label_confidence\ncase02,1\ncase02,0\n",
            "line 3: 'case02' stands twice",
        ),
        ("label_confidence.csv", "case,weight\ncase02,1\n", "names the columns id,label_confidence, got"),
        (
            "label_confidence.csv",
            "ID;Label_Confidence\ncase02.png;1\ncase02;0\n",
            "line 3: 'case02' stands twice",
        ),
        (
            "label_confidence.csv",
            "id,label_confidence\ncas02,1\n",
            "there is no image 'cas02': did you mean 'case02'?",
        ),
    ],
)
def test_what_is_wrong_with_trust_is_named(name, content, says, folder, tmp_path):
    (write if isinstance(content, str) else save)(folder / name, content)
    with pytest.raises(InputError) as caught:
        prepare_folder(folder, tmp_path / "set", edges="none")
    assert says in str(caught.value)
    assert codes(check_folder(folder))["error"] <= {"trust-unknown", "trust-unreadable"}


def volumes(root):
    for number in range(4):
        array = np.random.default_rng(number).normal(size=(12, 12, 8)).astype(np.float32)
        label = np.zeros((12, 12, 8), np.uint8)
        label[4:8, 4:8, 2:6] = 1
        label_confidence = np.ones((12, 12, 8), np.float32)
        label_confidence[:6] = 0.4
        for kind, values in (("images", array), ("masks", label), ("label_confidence", label_confidence)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            if kind != "label_confidence" or number == 1:
                nibabel.save(
                    nibabel.Nifti1Image(values, np.diag([1, 1, 2, 1])), root / kind / f"c{number}.nii.gz"
                )
    write(root / "label_confidence.csv", "id,label_confidence\nc2,0\n")
    return root


def test_trust_of_volumes(tmp_path):
    scan = scan_folder(volumes(tmp_path / "mine"), val=0, test=0)
    prepare_scan(scan, tmp_path / "set", name="x", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    view = SegmentationDataset(prepared, "train", (8, 12, 12))
    label_confidence = [view.sample(row, 0).label_confidence for row in range(4)]
    assert label_confidence[0].eq(1).all()
    assert torch.allclose(label_confidence[1][:, :6], torch.tensor(0.4))
    assert label_confidence[1][:, 6:].eq(1).all()
    assert label_confidence[2].eq(0).all()
    slices = SegmentationDataset(prepared, "train", 12)
    assert torch.equal(slices.sample(8, 0).label_confidence, label_confidence[1][0])


def test_trust_of_volumes_on_another_grid(tmp_path):
    root = volumes(tmp_path / "mine")
    nibabel.save(
        nibabel.Nifti1Image(np.ones((6, 6, 8), np.float32), np.eye(4)), root / "label_confidence/c1.nii.gz"
    )
    scan = scan_folder(root, val=0, test=0)
    with pytest.raises(
        InputError, match=r"label_confidence/c1.nii.gz: trust must be one value for each of .*c1.nii.gz"
    ):
        prepare_scan(scan, tmp_path / "set", name="x", edges="none")


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values
    return path


def test_trust_beside_the_image_in_one_file_is_not_the_image(tmp_path):
    image = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    file = hdf5(
        tmp_path / "a.h5", image=image, label=image // 12, label_confidence=np.full(image.shape, 51, np.uint8)
    )
    raw = RawCase("a", "train", "a", (file,), file, label_confidence=file)
    assert np.unique(load_label_confidence(raw, load_image(raw).grid)).tolist() == [51]
    bare = hdf5(tmp_path / "b.h5", image=image, label=image // 12)
    with pytest.raises(InputError, match=r"b.h5.*label_confidence"):
        load_label_confidence(
            RawCase("b", "train", "b", (bare,), bare, label_confidence=bare), load_image(raw).grid
        )


def test_trust_may_know_where_it_lies_beside_an_image_that_does_not(tmp_path):
    file = hdf5(tmp_path / "a.h5", image=np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
    where = tmp_path / "trust.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((4, 3, 2), 0.2, np.float32), np.diag([2, 2, 3, 1])), where)
    raw = RawCase("a", "train", "a", (file,), file, label_confidence=where)
    assert np.unique(load_label_confidence(raw, load_image(raw).grid)).tolist() == [51]


def test_the_names_of_before_are_told_not_ignored(tmp_path):
    folder = make_folder(tmp_path)
    write(folder / "trust.csv", "id,trust\ncase02,0.2\n")
    (folder / "trust").mkdir()
    told = [found.sentence for found in check_folder(folder).findings if found.code == "trust-renamed"]
    assert len(told) == 2
    assert "trust.csv is not read: rename it to label_confidence.csv" in told[1]
