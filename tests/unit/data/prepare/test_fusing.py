"""What one label is made of several outlines, and what a set keeps of them."""

import sys

import nibabel
import numpy as np
import pytest
from tests.unit.data.folders import disc, picture, save, write

from metadcseg.cli.main import main
from metadcseg.constants import IGNORE
from metadcseg.data.prepare.checks import check_folder, check_set
from metadcseg.data.prepare.fusing import FUSIONS, Fusion, agreement, staple, vote
from metadcseg.data.prepare.pipeline import prepare_folder, prepare_scan
from metadcseg.data.sources.folder import scan_folder
from metadcseg.data.store import PreparedSet
from metadcseg.errors import InputError


def stack(*rows):
    return np.array(rows, np.uint8)


def circles(radii, size=64, centers=None):
    y, x = np.mgrid[:size, :size]
    centers = centers or [0] * len(radii)
    return [
        ((y - size / 2) ** 2 + (x - size / 2 - move) ** 2 < radius**2).astype(np.uint8)
        for radius, move in zip(radii, centers, strict=True)
    ]


def circle_folder(root, count=10, gold=3, values=(255, 1, 255)):
    """Write a folder of three annotators: one too large, one too small, one to the right."""
    outlines = circles((14, 10, 12), centers=(0, 0, 2))
    for number in range(count):
        name = f"case{number:02d}.png"
        save(root / "images" / name, picture(number, 64, 64))
        for who, mask, value in zip(("anna", "ben", "cem"), outlines, values, strict=True):
            save(root / "masks" / who / name, mask * np.uint8(value))
        if number < gold:
            save(root / "gold" / name, circles([12])[0] * np.uint8(255))
    return root


@pytest.mark.parametrize(
    ("outlines", "label"),
    [
        (stack([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]), [0, 0, 1, 1]),
        (stack([0, 0, 1, 1], [0, 1, 0, 1]), [0, 255, 255, 1]),  # nobody knows where two disagree
        (stack([1, 1, 2], [2, 2, 2], [0, 2, 1], [1, 1, 1]), [1, 255, 255]),
        (stack([1], [1], [2], [2], [3]), [255]),
        (stack([3], [1], [2], [2], [3], [3]), [3]),  # a tie on the way is none at the end
        (stack([255, 255, 255, 255], [1, 255, 0, 1], [1, 255, 1, 255]), [1, 255, 255, 1]),
        (stack([254], [254], [0]), [254]),
        (stack([7, 0]), [7, 0]),
    ],
)
def test_a_vote(outlines, label):
    assert vote(outlines).tolist() == label
    assert vote(outlines[::-1]).tolist() == label


def test_a_vote_is_that_of_counting_each_pixel():
    rng = np.random.default_rng(1)
    outlines = rng.choice(np.array([0, 1, 2, 5, IGNORE], np.uint8), (6, 40, 30))
    found = vote(outlines)
    for place in np.ndindex(found.shape):
        votes = np.bincount(outlines[:, *place], minlength=256)[:IGNORE]
        most = np.flatnonzero(votes == votes.max())
        assert found[place] == (most[0] if len(most) == 1 else IGNORE)


def test_staple_follows_whoever_agrees_with_the_others():
    """Two draw alike and three draw anything: a vote is not sure of all of it, STAPLE follows the two."""
    rng = np.random.default_rng(0)
    (true,) = circles([12])
    noise = [np.where(rng.random(true.shape) < 0.4, 1 - true, true) for _ in range(3)]
    outlines = np.stack([true, true, *noise]).astype(np.uint8)
    assert np.array_equal(staple(outlines), true)
    assert not np.array_equal(vote(outlines), true)


def test_staple_of_several_classes():
    small, large = circles((7, 12))
    true = small + large  # 2 within 1
    rng = np.random.default_rng(0)
    noise = [np.where(rng.random(true.shape) < 0.35, rng.integers(0, 3, true.shape), true) for _ in range(5)]
    outlines = np.stack([true, *noise]).astype(np.uint8)
    found = staple(outlines)
    assert set(np.unique(found)) <= {0, 1, 2}
    assert np.mean(found == true) > max(np.mean(each == true) for each in noise)


def test_staple_leaves_what_some_ignore_to_the_others_votes():
    outlines = np.stack(circles((10, 12, 14)))
    outlines[0, :8] = IGNORE
    outlines[:, 8:12] = IGNORE
    outlines[1, 20:24, 20:24] = IGNORE
    found = staple(outlines)
    assert (found[:8] == 0).all()
    assert (found[8:12] == IGNORE).all()
    assert np.array_equal(found[20:24, 20:24], vote(outlines)[20:24, 20:24])


def test_staple_makes_small_foreground_too_large():
    """What the page says: of five people and discs 16 pixels wide in 256 x 256 by about 30 %."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] - 128.0
    shares = []
    for _ in range(10):
        drawn = [(rng.normal(0, 2), rng.normal(0, 2), 8 + rng.normal(0, 1.5)) for _ in range(5)]
        outlines = np.stack(
            [((y - down) ** 2 + (x - right) ** 2 < radius**2) for down, right, radius in drawn]
        )
        shares.append([way(outlines.astype(np.uint8)).sum() / np.pi / 64 for way in (staple, vote)])
    large, right = np.mean(shares, axis=0)
    assert 1.2 < large < 1.4
    assert 0.9 < right < 1.1


@pytest.mark.parametrize(
    "outlines",
    [
        np.zeros((3, 5, 6), np.uint8),
        np.ones((2, 5, 6), np.uint8),
        np.full((2, 5, 6), IGNORE, np.uint8),
        stack([1]),
        np.stack([np.zeros((5, 6), np.uint8), np.full((5, 6), IGNORE, np.uint8)]),
    ],
)
def test_outlines_that_do_not_differ_are_what_they_are(outlines):
    assert np.array_equal(staple(outlines), vote(outlines))
    assert not np.array_equal(vote(outlines), np.full(outlines.shape[1:], 77))


def test_staple_is_the_same_every_time():
    outlines = np.stack(circles((10, 12, 14), centers=(1, 0, 3)))
    assert np.array_equal(staple(outlines), staple(outlines.copy()))


def test_staple_without_its_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        InputError, match=r"labels by STAPLE need SimpleITK.*pip install 'metadcseg\[volumes\]'"
    ):
        Fusion("staple")


def test_one_annotator_is_drawn_by_seed_and_case():
    outlines = dict(zip(("anna", "ben", "cem"), np.stack(circles((10, 12, 14))), strict=True))
    ids = [f"case{n}" for n in range(60)]
    drawn = [Fusion("draw", 3)(id, outlines) for id in ids]
    for fused in drawn:
        assert np.array_equal(fused.label, outlines[fused.annotator])
        assert (fused.doubt.tied, fused.doubt.emptied) == (0, False)
    names = [fused.annotator for fused in drawn]
    assert min(names.count(name) for name in outlines) > 8
    assert names == [Fusion("draw", 3)(id, dict(reversed(outlines.items()))).annotator for id in ids]
    assert names != [Fusion("draw", 4)(id, outlines).annotator for id in ids]


def test_agreement_is_the_share_of_those_who_decided():
    outlines = stack([0, 1, 1, 255, 2, 255], [0, 1, 0, 1, 1, 255], [0, 1, 0, 0, 2, 255], [0, 0, 1, 1, 2, 255])
    label = np.array([0, 1, 255, 1, 2, 255], np.uint8)
    assert agreement(outlines, label).tolist() == [255, 191, 0, 170, 191, 0]


@pytest.mark.parametrize("how", FUSIONS)
@pytest.mark.parametrize("values", [(255, 255, 255), (255, 1, 255)])
def test_a_folder_becomes_one_label_and_all_outlines_are_kept(tmp_path, how, values):
    """Annotators write what they drew each in their own way, 0 and 255 or 0 and 1."""
    folder = circle_folder(tmp_path / "folder", values=values)
    report = prepare_folder(folder, tmp_path / "set", fuse=how, seed=5, edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert held.annotators == ("anna", "ben", "cem")
    assert held.source["fuse"] == how
    assert held.source.get("fuse_seed") == (5 if how == "draw" else None)
    anna, ben, cem = outlines = circles((14, 10, 12), centers=(0, 0, 2))
    for case in held.cases:
        assert case.annotators == ("anna", "ben", "cem")
        kept = held.outlines(case)
        assert all(np.array_equal(kept[name], one) for name, one in zip(kept, outlines, strict=True))
        given = held.given(case) if case.role == "gold" else held.label(case)
        if how == "draw":
            assert np.array_equal(given, kept[case.annotator])
        else:
            assert case.annotator is None
            assert np.array_equal(
                given, (anna + ben + cem > 1) if how == "vote" else staple(np.stack(outlines))
            )
        if case.role == "gold":
            assert np.array_equal(held.label(case), circles([12])[0])
        assert not case.has_label_confidence
    assert report.pairs == 3
    assert held.verify() == []
    note = next(one.sentence for one in report.findings if one.code == "outlines-fused")
    assert note.startswith("of 10 images the label is ")


def test_by_default_the_majority_is_taken_and_said(tmp_path):
    folder = circle_folder(tmp_path / "folder", gold=0)
    for number in range(4):
        (folder / f"masks/cem/case{number:02d}.png").unlink()
    report = prepare_folder(folder, tmp_path / "set", edges="none")
    (note,) = [one for one in report.findings if one.code == "outlines-fused"]
    anna, ben, _ = circles((14, 10, 12))
    assert note.severity == "note"
    assert "of 10 images the label is the majority of its outlines" in note.sentence
    assert f"tied are {4 * (anna.sum() - ben.sum())} of " in note.sentence
    assert "(others: --fuse staple, --fuse draw)" in note.sentence
    assert "of two annotators (4 images) it is no more than what both drew" in note.sentence
    held = PreparedSet.open(tmp_path / "set")
    first = next(case for case in held.cases if case.id == "case00")
    assert np.array_equal(held.label(first) == IGNORE, anna > ben)
    (said,) = [one.sentence for one in check_folder(folder).findings if one.code == "outlines-fused"]
    assert "10 images with more than one outline: prepare makes their majority the label" in said


def test_a_label_that_lost_all_foreground_is_named(tmp_path):
    folder = circle_folder(tmp_path / "folder", gold=0)
    for move, name in zip((-20, 0, 20), ("anna", "ben", "cem"), strict=True):
        save(folder / f"masks/{name}/case04.png", circles([6], centers=[move])[0] * np.uint8(255))
    report = prepare_folder(folder, tmp_path / "set", edges="none")
    (told,) = [one.sentence for one in report.findings if one.code == "outlines-apart"]
    assert "images/case04.png: its outlines show foreground, and its fused label none" in told


def test_agreement_as_confidence_is_of_labels_that_nobody_verified(tmp_path):
    folder = circle_folder(tmp_path / "folder")
    prepare_folder(folder, tmp_path / "set", confidence="agreement", edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert held.source["confidence"] == "agreement"
    assert {case.has_label_confidence for case in held.select("gold")} == {False}
    for case in held.select("train"):
        outlines = np.stack(list(held.outlines(case).values()))
        assert np.array_equal(held.label_confidence(case), agreement(outlines, held.label(case)))
        assert set(np.unique(held.label_confidence(case))) == {170, 255}


def test_confidence_has_one_source(tmp_path):
    folder = circle_folder(tmp_path / "folder")
    write(folder / "label_confidence.csv", "id,label_confidence\ncase05,0.5\n")
    with pytest.raises(
        InputError, match=r"--confidence agreement, and the data has a label confidence of its own"
    ):
        prepare_folder(folder, tmp_path / "set", confidence="agreement", edges="none")


@pytest.mark.parametrize("option", [{"fuse": "staple"}, {"fuse": "draw"}, {"confidence": "agreement"}])
def test_nothing_to_fuse_is_said(tmp_path, option):
    folder = circle_folder(tmp_path / "folder")
    for name in ("ben", "cem"):
        for path in (folder / "masks" / name).iterdir():
            path.unlink()
    with pytest.raises(InputError, match="needs images with more than one outline"):
        prepare_folder(folder, tmp_path / "set", edges="none", **option)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"fuse": "staples"}, "unknown --fuse 'staples': did you mean 'staple'"),
        ({"confidence": "all"}, "agreement"),
    ],
)
def test_ways_that_nobody_knows(tmp_path, option, says):
    with pytest.raises(InputError, match=says):
        prepare_folder(circle_folder(tmp_path / "folder"), tmp_path / "set", edges="none", **option)


def test_one_outline_keeps_its_name(tmp_path):
    folder = circle_folder(tmp_path / "folder")
    for name in ("ben", "cem"):
        for path in (folder / "masks" / name).iterdir():
            path.unlink()
    report = prepare_folder(folder, tmp_path / "set", edges="none")
    assert not any(one.code == "outlines-fused" for one in report.findings)
    held = PreparedSet.open(tmp_path / "set")
    assert "fuse" not in held.source
    for case in held.cases:
        assert (case.annotators, case.annotator) == (("anna",), "anna")
        given = held.given(case) if case.role == "gold" else held.label(case)
        assert np.array_equal(held.outlines(case)["anna"], given)


def test_without_annotators_nothing_is_kept_of_them(tmp_path):
    folder = circle_folder(tmp_path / "folder")
    (folder / "masks/anna").rename(folder / "given")
    for name in ("ben", "cem"):
        for path in (folder / "masks" / name).iterdir():
            path.unlink()
        (folder / "masks" / name).rmdir()
    (folder / "masks").rmdir()
    (folder / "given").rename(folder / "masks")
    prepare_folder(folder, tmp_path / "set", edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert (held.annotators, held.cases[0].annotators, held.cases[0].annotator) == ((), (), None)
    text = (tmp_path / "set/cases.jsonl").read_text() + (tmp_path / "set/set.json").read_text()
    assert "annotator" not in text
    assert not any("outlines" in path.name for path in (tmp_path / "set/arrays").iterdir())
    with pytest.raises(InputError, match="has no outlines of annotators that are known"):
        held.outlines(held.cases[0])


def volume_folder(root):
    rng = np.random.default_rng(0)
    y, x, z = np.mgrid[:16, :18, :6]
    for number in range(6):
        drawn = {
            "masks/anna": (y - 8) ** 2 + (x - 8) ** 2 + (2 * z - 6) ** 2 < 36,
            "masks/ben": (y - 8) ** 2 + (x - 8) ** 2 + (2 * z - 6) ** 2 < 20,
            "masks/cem": (y - 8) ** 2 + (x - 9) ** 2 + (2 * z - 6) ** 2 < 30,
            "images": rng.normal(0, 1, y.shape),
        }
        if number < 2:
            drawn["gold"] = drawn["masks/cem"]
        for place, array in drawn.items():
            (root / place).mkdir(parents=True, exist_ok=True)
            kind = np.float32 if place == "images" else np.uint8
            volume = nibabel.Nifti1Image(array.astype(kind), np.diag([1, 1, 3, 1]))
            nibabel.save(volume, root / place / f"v{number}.nii.gz")
    return root


@pytest.mark.parametrize("how", ["vote", "staple", "draw"])
def test_volumes_are_fused_whole(tmp_path, how):
    folder = volume_folder(tmp_path / "folder")
    prepare_folder(folder, tmp_path / "set", fuse=how, edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert held.verify() == []
    for volume in held.volumes:
        slices = held.slices_of(volume)
        assert {case.annotators for case in slices} == {("anna", "ben", "cem")}
        assert len({case.annotator for case in slices}) == 1  # one for the whole volume
        label = np.stack([(held.given if case.has_given else held.label)(case) for case in slices])
        drawn = [held.outlines(case) for case in slices]
        each = {name: np.stack([one[name] for one in drawn]) for name in ("anna", "ben", "cem")}
        expected = Fusion(how)(volume.id, each)
        assert np.array_equal(label, expected.label)
        assert slices[0].annotator == expected.annotator
    assert check_set(tmp_path / "set").errors == ()


@pytest.mark.parametrize("how", ["vote", "staple", "draw"])
def test_workers_change_no_bit(tmp_path, how):
    folder = circle_folder(tmp_path / "folder", count=6, gold=2)
    scan = scan_folder(folder)
    prints = []
    for workers in (1, 2):
        out = tmp_path / f"set{workers}"
        prepare_scan(scan, out, name="x", fuse=how, confidence="agreement", edges="none", workers=workers)
        prints.append((PreparedSet.open(out).fingerprint, (out / "cases.jsonl").read_bytes()))
    assert prints[0] == prints[1]


def test_a_set_is_checked_with_its_outlines(tmp_path):
    folder = circle_folder(tmp_path / "folder")
    prepare_folder(folder, tmp_path / "set", edges="none")
    report = check_set(tmp_path / "set")
    assert "masks of 3 annotators; of 10 images anna drew 10, ben 10, cem 10" in [
        one.sentence for one in report.findings if one.code == "annotators"
    ]
    chunk = tmp_path / "set/arrays/outlines-00000/c.4.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-9] + b"123456789")
    assert any("the outlines of case" in one.sentence for one in check_set(tmp_path / "set").errors)


def test_on_the_command_line(tmp_path, capsys):
    folder = circle_folder(tmp_path / "folder")
    words = ["prepare", str(folder), "--edges", "none", "--out"]
    assert main([*words, str(tmp_path / "a"), "--fuse", "staple", "--confidence", "agreement"]) == 0
    said = capsys.readouterr()
    assert "of 10 images the label is fused from its outlines by STAPLE" in " ".join(
        (said.out + said.err).split()
    )
    assert PreparedSet.open(tmp_path / "a").source["fuse"] == "staple"
    assert main([*words, str(tmp_path / "b"), "--fuse", "most"]) == 2
    assert main(["prepare", "phantom", "--fuse", "vote", "--out", str(tmp_path / "c")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "unknown --fuse 'most'" in said
    assert "--fuse does not belong to 'prepare phantom'" in said


def test_corrupted_copies_leave_outlines_out_and_say_so(tmp_path, capsys):
    circle = disc(64, 64)
    for number in range(8):
        save(tmp_path / f"f/images/c{number}.png", picture(number, 64, 64))
        save(tmp_path / f"f/masks/anna/c{number}.png", circle)
        save(tmp_path / f"f/masks/ben/c{number}.png", circle)
    prepare_folder(tmp_path / "f", tmp_path / "set", edges="none")
    assert main(["corrupt", str(tmp_path / "set"), "--rate", "0.2", "--out", str(tmp_path / "noisy")]) == 0
    said = capsys.readouterr()
    assert "outlines of annotators (8 cases) are left out of the copy" in " ".join(
        (said.out + said.err).split()
    )
    noisy = PreparedSet.open(tmp_path / "noisy")
    assert (noisy.annotators, {case.annotators for case in noisy.cases}) == ((), {()})
