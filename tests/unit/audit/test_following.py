"""Pairs follow masks that were corrected without a look: what they show is what is still wrong."""

import csv
import shutil
from functools import partial
from itertools import permutations

import nibabel
import numpy as np
import pytest
from tests.unit.audit.simulated import decide, judge, simulate
from tests.unit.audit.test_run import larger
from tests.unit.data.folders import disc, make_folder, save
from tests.unit.evaluation.fakes import scene, write_fake_run

from metadcseg.audit.accept import accept
from metadcseg.audit.case_files import read_cases, read_masks
from metadcseg.audit.following import most_alike
from metadcseg.audit.run import audit_run
from metadcseg.audit.twins import TWINS
from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError

BY_SCRIPT = {"verdict": "accept", "level": "balanced", "verified": False}


def prepared_from(folder, out):
    prepare_folder(folder, out, edges="none")
    return PreparedSet.open(out)


@pytest.fixture
def mine(tmp_path):
    """A folder with two pairs, an audit of it, and the masks of both."""
    folder = make_folder(tmp_path / "mine", gold=2)
    for number in range(2):
        save(folder / f"masks/case{number:02d}.png", np.roll(disc(), 2, axis=0))
    prepared = prepared_from(folder, tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    twins = judge(tmp_path / "audit" / TWINS, prepared, "gold", dsc=lambda number: (0.7, 0.9)[number])
    return prepared, arrays, twins


def givens(prepared):
    return {case.id: prepared.given(case) for case in prepared.select("gold") if case.has_given}


def lines(folder):
    with (folder / "corrections.csv").open(newline="") as opened:
        return [(row["case"], row["mask"], row["level"]) for row in csv.DictReader(opened)]


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "out"])
def test_where_all_masks_are_corrected_pairs_are_too(tmp_path, mine, in_place):
    prepared, arrays, twins = mine
    first, *others = arrays
    verified = {"case": first, "verdict": "accept", "level": "network"}
    decisions = decide(tmp_path / "audit", prepared, verified, *({"case": id, **BY_SCRIPT} for id in others))
    place = {"backup": tmp_path / "old"} if in_place else {"out": tmp_path / "better", "link": True}
    accepted, _ = accept(decisions, **place)
    assert (accepted.twins, accepted.reviewed, accepted.notes) == (3, 1, ())
    again = prepared_from(accepted.folder, tmp_path / "set-2")
    now = givens(again)
    assert now.keys() == {first, *twins}
    assert np.array_equal(now[first], arrays[first].corrected["balanced"][0])  # gold is another level
    assert np.array_equal(again.label(again.select("gold")[-1]), arrays[first].corrected["network"][0])
    for id, held in twins.items():
        assert np.array_equal(now[id], held.corrected["balanced"][0])
    if in_place:
        assert {path.stem for path in (tmp_path / "old/masks").iterdir()} == {*arrays, *twins}
    told = lines(accepted.folder)
    assert (first, "gold", "network") in told
    assert sorted(id for id, place, level in told if (place, level) == ("masks", "balanced")) == sorted(
        [*arrays, *twins]
    )


def test_where_some_are_pairs_are_treated_as_the_case_most_like_theirs(tmp_path, mine):
    prepared, arrays, twins = mine
    (tmp_path / "audit/cases").rename(tmp_path / "audit/before")
    judge(tmp_path / "again", prepared, dsc=lambda number: 0.6 if number % 2 else 0.95)
    (tmp_path / "again/cases").rename(tmp_path / "audit/cases")
    bad, good = list(arrays)[1::2], next(iter(arrays))
    decisions = [{"case": id, **BY_SCRIPT} for id in bad] + [{"case": good, "verdict": "reject"}]
    accepted, _ = accept(decide(tmp_path / "audit", prepared, *decisions), tmp_path / "better")
    now = givens(prepared_from(tmp_path / "better", tmp_path / "set-2"))
    worse, better = twins
    assert accepted.twins == 1
    assert np.array_equal(now[worse], twins[worse].corrected["balanced"][0])
    assert np.array_equal(now[better], twins[better].given[0])
    assert np.array_equal(now[good], arrays[good].given[0])


@pytest.mark.parametrize(
    ("treated", "level"),
    [
        ([(0.5, None), (0.5, None), (0.5, "network"), (0.9, "sure")], None),
        ([(0.5, "sure"), (0.7, "sure"), (0.7, "balanced")], "sure"),  # 0.6 - 0.5 is not 0.7 - 0.6 in floats
        ([(0.7, None), (0.5, "sure"), (0.2, "network")], "sure"),
        ([(0.6, "sure"), (0.6, "network"), (0.6, "balanced")], "network"),
    ],
)
def test_of_equally_near_cases_most_decide_then_what_changes_most_in_any_order(treated, level):
    assert {most_alike(0.6, order) for order in permutations(treated)} == {level}


def test_a_second_round_goes_on_from_the_first(tmp_path, mine):
    prepared, arrays, _ = mine
    folder = tmp_path / "mine"
    for number in (1, 2):
        if number == 2:
            prepared = prepared_from(folder, tmp_path / "set-2")
            arrays = simulate(tmp_path / "audit-2", prepared)
            twins = judge(tmp_path / "audit-2" / TWINS, prepared, "gold")
        audit = tmp_path / ("audit" if number == 1 else "audit-2")
        level = ("balanced", "network")[number - 1]
        rows = [{"case": id, **BY_SCRIPT, "level": level} for id in arrays]
        accept(decide(audit, prepared, *rows), backup=tmp_path / f"old-{number}")
    now = givens(prepared_from(folder, tmp_path / "set-3"))
    assert all(np.array_equal(now[id], held.corrected["network"][0]) for id, held in twins.items())
    told = [level for *_, level in lines(folder)]
    assert told == ["balanced"] * (len(told) // 2) + ["network"] * (len(told) // 2)
    assert (tmp_path / "old-2/corrections.csv").is_file()


def test_masks_that_no_file_of_its_own_holds_are_not_said_to_have_changed(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=2)
    shutil.copytree(folder / "masks", folder / "masks_anna")
    (folder / "masks").rename(folder / "masks_ben")
    prepared = prepared_from(folder, tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    judge(tmp_path / "audit" / TWINS, prepared, "gold")
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    accepted, _ = accept(decisions, tmp_path / "better")
    (note,) = accepted.notes
    assert (accepted.twins, accepted.in_part) == (0, 0)
    assert "is not written, as no file of its own holds the mask" in note
    assert not (tmp_path / "better/corrections.csv").exists()


def test_a_table_of_theirs_with_the_name_of_ours_is_left_alone(tmp_path, mine):
    prepared, arrays, _ = mine
    table = tmp_path / "mine/corrections.csv"
    table.write_text("who;when\nanna;monday\n")
    decisions = decide(tmp_path / "audit", prepared, {"case": next(iter(arrays)), **BY_SCRIPT})
    for place in ({"out": tmp_path / "better"}, {"backup": tmp_path / "old"}):
        with pytest.raises(InputError, match="another table than the one of corrections"):
            accept(decisions, **place)
    assert table.read_text() == "who;when\nanna;monday\n"


def test_of_an_audit_without_them_pairs_stay_and_that_is_said(tmp_path, mine):
    prepared, arrays, twins = mine
    (tmp_path / "audit" / TWINS / "cases" / "case00.npz").unlink()
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    accepted, _ = accept(decisions, tmp_path / "better")
    assert accepted.twins == 0
    assert any("no correction of 1 pair" in note and "supervised" in note for note in accepted.notes)
    now = givens(prepared_from(tmp_path / "better", tmp_path / "set-2"))
    assert all(np.array_equal(now[id], held.given[0]) for id, held in twins.items())


def test_an_empty_folder_of_pairs_is_named(tmp_path, mine):
    prepared, arrays, _ = mine
    for file in (tmp_path / "audit" / TWINS / "cases").iterdir():
        file.unlink()
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    for _ in ("cases", "pairs"):
        with pytest.raises(
            InputError, match=r"audit/pairs is empty, .* put back its files, or run the audit"
        ):
            accept(decisions, tmp_path / "better")
        shutil.rmtree(tmp_path / "audit" / TWINS / "cases", ignore_errors=True)


def test_pairs_of_a_set_with_noise_follow(tmp_path):
    cases = phantom_cases(PhantomOptions(count=12, size=32), gold=2)
    prepare_cases(cases, tmp_path / "clean", name="phantom", edges="none")
    corrupt_set(PreparedSet.open(tmp_path / "clean"), tmp_path / "set", 0.29, 0, model="over")
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    twins = judge(tmp_path / "audit" / TWINS, prepared, "gold")
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    accepted, _ = accept(decisions, tmp_path / "better")
    now = givens(prepared_from(accepted.folder, tmp_path / "set-2"))
    assert accepted.twins == len(now) == 2
    assert all(np.array_equal(now[id], held.corrected["balanced"][0]) for id, held in twins.items())


def test_the_replaced_mask_of_a_volume_keeps_its_header_and_its_other_slices(tmp_path):
    """The set holds slices with something in them only; the volume's own mask has all."""
    label = np.zeros((12, 12, 5), np.uint8)
    label[3:8, 3:8, 1:4] = 1
    for number, place in [(number, "masks") for number in range(5)] + [(0, "gold")]:
        mask = label.copy()
        mask[3:8, 3:8, 4] = place == "masks"
        image = nibabel.Nifti1Image(np.random.default_rng(number).normal(size=label.shape), np.eye(4))
        drawn = nibabel.Nifti1Image(mask * np.uint8(7), np.eye(4))
        drawn.header["descrip"] = b"drawn by anna"
        for part, held in (("images", image), (place, drawn)):
            (tmp_path / "mine" / part).mkdir(parents=True, exist_ok=True)
            nibabel.save(held, tmp_path / "mine" / part / f"v{number}.nii.gz")
    prepare_folder(
        tmp_path / "mine", tmp_path / "set", edges="none", slices=SliceOptions(empty="drop"), remap={7: 1}
    )
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    (twin,) = judge(tmp_path / "audit" / TWINS, prepared, "gold").values()
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    accept(decisions, tmp_path / "better")
    written = nibabel.load(tmp_path / "better/masks/v0.nii.gz")
    assert written.header["descrip"].tobytes().rstrip(b"\0") == b"drawn by anna"
    before = np.asarray(nibabel.load(tmp_path / "mine/masks/v0.nii.gz").dataobj)
    after = np.asarray(written.dataobj)
    assert (before != after).any()
    (volume,) = (volume for volume in prepared.volumes if volume.role == "gold")
    shown = [case.slice for case in prepared.slices_of(volume)]
    assert len(shown) < 5
    stacked = volume.placement.stack(after)
    assert np.array_equal(stacked[shown], 7 * twin.corrected["balanced"])
    assert np.array_equal(np.delete(stacked, shown, 0), np.delete(volume.placement.stack(before), shown, 0))
    nibabel.save(nibabel.Nifti1Image(before[::-1], np.eye(4)), tmp_path / "mine/masks/v0.nii.gz")
    with pytest.raises(InputError, match="changed since the set was prepared"):
        accept(decisions, tmp_path / "once more")


@pytest.mark.parametrize("elsewhere", [False, True], ids=["resampled slices", "masks on another grid"])
def test_masks_of_resampled_volumes_that_were_edited_since_are_named(tmp_path, elsewhere):
    """Slices have two thirds of the pixels of their files, and masks may lie on another grid than their image."""
    label = np.zeros((12, 12, 3), np.uint8)
    label[3:8, 3:8] = 1
    apart = np.diag([1.0, 1.0, 0.5, 1.0]) if elsewhere else np.eye(4)
    drawn = np.repeat(label, 2, axis=2) if elsewhere else label

    def write(place, number, array, affine=apart):
        (tmp_path / "mine" / place).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "mine" / place / f"v{number}.nii.gz")

    for number in range(5):
        write("images", number, np.random.default_rng(number).normal(size=label.shape), np.eye(4))
        write("masks", number, np.roll(drawn, number == 0, axis=0))
    write("gold", 0, drawn)
    slices = SliceOptions(pixel=1.5)
    prepare_folder(
        tmp_path / "mine", tmp_path / "set", edges="none", slices=slices, resample_labels=elsewhere
    )
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    judge(tmp_path / "audit" / TWINS, prepared, "gold")
    decisions = decide(tmp_path / "audit", prepared, *({"case": id, **BY_SCRIPT} for id in arrays))
    accepted, _ = accept(decisions, tmp_path / "better")
    assert accepted.twins == 1
    for number in (0, int(next(iter(arrays))[1:])):  # a replaced mask, and one that trains
        edited = drawn.copy()
        edited[5:7, 5:7] = 0
        write("masks", number, edited)
        with pytest.raises(
            InputError, match=rf"masks/v{number}\.nii\.gz was changed since the set was prepared"
        ):
            accept(decisions, tmp_path / "once more")
        write("masks", number, np.roll(drawn, number == 0, axis=0))
    accept(decisions, tmp_path / "once more")


def blind_set(out, verified):
    """Squares in images that show nothing, drawn too large; what is verified of the first is given."""
    with SetWriter(out, name="squares", classes=("background", "organ"), channels=1) as writer:
        for number in range(6):
            image, mask = scene(32, 32, 8 + number, 10, 10)
            role = "gold" if number < 4 else "train"
            held = {"given": larger(mask)} if role == "gold" else {}
            label = larger(mask) if role == "train" else mask if number else verified(mask)
            blank = np.full_like(image, 128)
            writer.add(id=f"{number}", role=role, group=f"g{number}", image=blank, label=label, **held)
    return PreparedSet.open(out)


def test_an_audit_corrects_a_pair_as_if_it_were_none(tmp_path):
    """Its verified mask may be any: the twin is corrected in the same way, as nothing has seen the pair."""
    found = []
    for name, verified in (("one", np.copy), ("other", partial(np.roll, shift=1, axis=1))):
        prepared = blind_set(tmp_path / name, verified)
        run = write_fake_run(tmp_path / f"run {name}", prepared)
        record = audit_run(run, tmp_path / f"audit {name}", prepared, trust_code=True)
        assert (
            record["calibration"]["network_weight"] == 0
        )  # so no log odds, which all pairs correct together
        folder = tmp_path / f"audit {name}" / TWINS
        cases = read_cases(folder)
        assert [case.id for case in cases] == ["0", "1", "2", "3"]
        found.append((read_masks(folder, cases[0]), read_masks(folder, cases[1])))
        assert cases[1].true_dsc < 0.9 < cases[1].corrected_dsc["balanced"]
    (one, neighbor), (other, neighbor_of_other) = found
    assert np.array_equal(one.wrong, other.wrong)
    assert not np.array_equal(neighbor.wrong, neighbor_of_other.wrong)  # which the first has taught
    assert all(np.array_equal(mask, other.corrected[level]) for level, mask in one.corrected.items())
    assert (one.corrected["balanced"] != one.given).any()
