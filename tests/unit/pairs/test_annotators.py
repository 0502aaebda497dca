"""Several annotators: each is compared with the verified masks by own outlines, the whole by what was made of them."""

import json

import nibabel
import numpy as np
import pytest
from tests.unit.data.folders import picture, save, write

from metadcseg.cli.main import main
from metadcseg.data.prepare.fusing import vote
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError
from metadcseg.pairs.advice import advise
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences
from metadcseg.pairs.statistics import diagnose


def circle(radius, number=0):
    y, x = np.mgrid[:60, :64]
    return ((y - 30) ** 2 + (x - 28 - number % 3) ** 2 < radius**2).astype(np.uint8)


RADII = {"anna": 16, "ben": 12, "cem": 13}


def folder_of(root, gold=10, others=4, lacks=()):
    """Write images that anna draws 4 pixels too large, ben right and cem 1 too large."""
    for number in range(gold + others):
        name = f"case{number:02d}.png"
        save(root / "images" / name, picture(number, 60, 64))
        for who, radius in RADII.items():
            if (who, number) not in lacks:
                save(root / "masks" / who / name, circle(radius, number) * np.uint8(255))
        if number < gold:
            save(root / "gold" / name, circle(12, number) * np.uint8(255))
    return root


def lines(found):
    diagnosis = found.diagnose()
    return [*sentences(diagnosis), advise(diagnosis).sentence]


def test_each_annotator_has_pairs_of_his_own(tmp_path):
    found = read_pairs(folder_of(tmp_path, lacks={("cem", number) for number in range(5)}))
    diagnosis = found.diagnose()
    assert {name: part.pairs for name, part in diagnosis.annotators.items()} == {
        "anna": 10,
        "ben": 10,
        "cem": 5,
    }
    offsets = {name: round(part.offset_px.mean) for name, part in diagnosis.annotators.items()}
    assert offsets == {"anna": 4, "ben": 0, "cem": 1}
    assert diagnosis.total.pairs == diagnosis.total.units == 10  # images, however many drew them
    for pair in found.pairs:
        drawn = [one.given for one in found.outlines if one.id == pair.id]
        assert np.array_equal(pair.given, vote(np.stack(drawn)))
    assert "10 images made of several outlines (vote, tied pixels count nowhere)" in found.notes[0]
    assert "annotator anna draws too large" in advise(diagnosis).sentence


def test_intervals_are_over_images_and_not_over_outlines(tmp_path):
    found = read_pairs(folder_of(tmp_path, gold=4))
    tripled = diagnose(found.outlines, found.classes).total
    assert (tripled.pairs, tripled.units, tripled.dsc.units) == (12, 4, 4)
    total = found.diagnose().total
    assert total.dsc.units == 4
    assert total.dsc.mean == pytest.approx(diagnose(found.pairs).total.dsc.mean)


def both_larger(root, gold):
    """Write images that two people draw too large, each otherwise: a tie lies along the outline all around."""
    for number in range(gold + 2):
        name = f"case{number:02d}.png"
        save(root / "images" / name, picture(number, 60, 64))
        for who, radius in (("anna", 14), ("ben", 17)):
            save(root / "masks" / who / name, circle(radius, number))
        if number < gold:
            save(root / "gold" / name, circle(12, number))
    return root


@pytest.mark.parametrize(
    ("gold", "says"),
    [
        (10, "Wrong in one direction (annotator anna too large, annotator ben too large)"),
        (4, "too few to say (no outline can be compared so far), verify 6 more"),
    ],
)
def test_where_annotators_tie_along_all_outlines_their_own_ones_tell_the_direction(tmp_path, gold, says):
    """The fused masks have no outline to compare, and what their object lacks is unknown, not absent."""
    said = lines(read_pairs(both_larger(tmp_path, gold)))
    assert said[1] == "Unknown pixels or the frame lie along all outlines, so outlines cannot be compared."
    assert says in said[-1]


def test_tied_pixels_are_no_agreement(tmp_path):
    """Of two annotators a vote knows only what both drew: nobody has found these masks right."""
    folder = folder_of(tmp_path, gold=6, lacks={("cem", number) for number in range(10)})
    found = read_pairs(folder)
    total = found.diagnose().total
    assert (total.identical, total.dsc.mean) == (0, 1.0)
    assert "identical" not in " ".join(lines(found))


@pytest.mark.parametrize("how", ["vote", "staple", "draw"])
def test_a_set_says_of_annotators_what_its_folder_says(tmp_path, how):
    folder = folder_of(tmp_path / "folder", lacks={("ben", 3), ("cem", 3), ("anna", 4)})
    prepare_folder(folder, tmp_path / "set", fuse=how, val=0.0, test=0.0, edges="none")
    first, second = read_pairs(folder).diagnose(), read_pairs(tmp_path / "set").diagnose()
    assert first.annotators.keys() == second.annotators.keys() == RADII.keys()
    for name, part in first.annotators.items():
        assert part.to_dict() == second.annotators[name].to_dict()
    if how == "vote":
        assert first.total.to_dict() == second.total.to_dict()
    if how == "draw":
        members = second.total.members
        assert all(entry.pair.annotator is not None for entry in members)


def test_a_set_of_volumes_says_what_its_folder_says(tmp_path):
    rng = np.random.default_rng(0)
    y, x, z = np.mgrid[:20, :22, :7]
    for number in range(5):
        far = (y - 10) ** 2 + (x - 10 - number % 2) ** 2 + (2 * z - 6) ** 2
        drawn = {"images": rng.normal(0, 1, far.shape)}
        drawn |= {"masks/anna": far < 64, "masks/ben": far < 25, "masks/cem": far < 36}
        drawn |= {"gold": far < 36} if number < 4 else {}
        for place, array in drawn.items():
            (tmp_path / "f" / place).mkdir(parents=True, exist_ok=True)
            kind = np.float32 if place == "images" else np.uint8
            volume = nibabel.Nifti1Image(array.astype(kind), np.diag([0.5, 0.5, 2.0, 1.0]))
            nibabel.save(volume, tmp_path / "f" / place / f"v{number}.nii.gz")
    prepare_folder(tmp_path / "f", tmp_path / "set", val=0.0, test=0.0, edges="none")
    first, second = read_pairs(tmp_path / "f"), read_pairs(tmp_path / "set")
    assert lines(first) == lines(second)
    assert first.notes == second.notes
    anna = second.diagnose().annotators["anna"]
    assert (anna.pairs, anna.too_large) == (4, 4)
    assert anna.offset_mm.mean > 0.5


def test_of_one_outline_the_pair_is_its_annotators(tmp_path):
    lacks = {(who, number) for who in ("ben", "cem") for number in range(14)}
    folder = folder_of(tmp_path / "f", lacks=lacks)
    prepare_folder(folder, tmp_path / "set", val=0.0, test=0.0, edges="none")
    for path in (folder, tmp_path / "set"):
        found = read_pairs(path)
        assert ({pair.annotator for pair in found.pairs}, found.outlines, found.notes) == ({"anna"}, (), ())
        assert found.diagnose().annotators["anna"].pairs == 10


def test_a_table_goes_into_the_set(tmp_path):
    folder = folder_of(tmp_path / "f")
    (folder / "masks").rename(folder / "drawn")
    (folder / "drawn/anna").rename(folder / "masks")
    rows = "".join(f"case{number:02d},{('Ann', 'Bob')[number % 2]}\n" for number in range(9))
    write(folder / "annotators.csv", "id,annotator\n" + rows)
    prepare_folder(folder, tmp_path / "set", val=0.0, test=0.0, edges="none")
    first, second = read_pairs(folder), read_pairs(tmp_path / "set")
    assert [pair.annotator for pair in first.pairs] == [pair.annotator for pair in second.pairs]
    assert {name: part.pairs for name, part in second.diagnose().annotators.items()} == {"Ann": 5, "Bob": 4}
    assert [note.partition(" names ")[2] for note in first.notes] == [
        "nobody for 1 pair: they count in the whole only"
    ]
    assert second.notes[0].startswith(f"{tmp_path / 'set'} names nobody for 1 pair")
    other = write(tmp_path / "who.csv", "id,annotator\ncase00,Eve\n")
    assert [pair.annotator for pair in read_pairs(tmp_path / "set", annotators=other).pairs][:2] == [
        "Eve",
        None,
    ]


def test_a_table_for_several_outlines_is_refused(tmp_path):
    folder = folder_of(tmp_path / "f")
    table = write(tmp_path / "who.csv", "id,annotator\ncase00,Eve\n")
    with pytest.raises(
        InputError, match="knows who drew what, several outlines of an image: leave --annotators"
    ):
        read_pairs(folder, annotators=table)
    save(folder / "masks/case00.png", circle(3))
    with pytest.raises(InputError, match="beside the folders of annotators"):
        read_pairs(folder)


def test_an_outline_of_another_size_is_named(tmp_path):
    folder = folder_of(tmp_path)
    save(folder / "masks/ben/case02.png", circle(12)[:-2])
    with pytest.raises(InputError, match=r"masks/ben/case02.png is 58 x 64 .*gold/case02.png"):
        read_pairs(folder)


def test_under_other_roles_and_noise(tmp_path):
    folder = folder_of(tmp_path / "f")
    prepare_folder(folder, tmp_path / "set", val=0.0, test=0.0, edges="none")
    held = PreparedSet.open(tmp_path / "set")
    roles = {case.id: "test" if case.id < "case05" else "train" for case in held.cases}
    resplit_set(held, tmp_path / "split", roles, note={})
    assert {
        name: part.pairs for name, part in read_pairs(tmp_path / "split").diagnose().annotators.items()
    } == {
        "anna": 5,
        "ben": 5,
        "cem": 5,
    }
    corrupt_set(held, tmp_path / "noisy", 0.2, 0)
    noisy = read_pairs(tmp_path / "noisy")
    assert (len(noisy.pairs), noisy.outlines, noisy.diagnose().annotators) == (10, (), {})


def test_the_command_and_its_page(tmp_path, capsys):
    folder = folder_of(tmp_path / "f")
    assert main(["diagnose", str(folder), "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"] == 10
    assert {name: part["pairs"] for name, part in told["annotators"].items()} == dict.fromkeys(RADII, 10)
    page = (tmp_path / "diagnosis.html").read_text()
    assert "annotator anna" in page
    assert "made of several outlines" in page
