"""From decisions to a folder: gold holds exactly the masks of the review, and its pairs exactly the given ones."""

import json
import os
import shlex
import shutil
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.unit.audit.simulated import IDENTITY, decide, runs, simulate
from tests.unit.data.folders import disc, make_folder, picture, save

from metadcseg.audit import accept as acceptance
from metadcseg.audit import place
from metadcseg.audit.accept import accept
from metadcseg.audit.plan import splits_text
from metadcseg.cli.main import main
from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder
from metadcseg.data.splits.roles import SplitRow
from metadcseg.data.store.content import content_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError
from metadcseg.scratch import sweep


def prepared_from(folder, out, **options):
    prepare_folder(folder, out, edges="none", **options)
    return PreparedSet.open(out)


def audited(tmp_path, **options):
    prepared = prepared_from(make_folder(tmp_path / "mine", gold=2), tmp_path / "set", **options)
    return prepared, simulate(tmp_path / "audit", prepared)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def pixels(file):
    """Return the numbers of a file, and its palette."""
    with Image.open(file) as image:
        return np.array(image), image.getpalette()


def by_id(prepared):
    return {case.id: case for case in prepared.cases}


def test_the_audited_set_may_have_been_prepared_anew(tmp_path):
    prepared, arrays = audited(tmp_path)
    decisions = decide(tmp_path / "audit", prepared, {"case": next(iter(arrays)), "verdict": "accept"})
    about = tmp_path / "audit" / "audit.json"
    told = json.loads(about.read_bytes())
    told["set"]["content"] = content_of(prepared)
    about.write_text(json.dumps(told))
    again = prepared_from(tmp_path / "mine", tmp_path / "again", name="another name")
    assert again.fingerprint != prepared.fingerprint
    accept(decisions, tmp_path / "here")
    accept(decisions, tmp_path / "there", data=again.path)
    masks = [files(tmp_path / place / "masks") for place in ("here", "there")]
    assert masks[0] == masks[1]
    assert masks[0]
    told["set"]["content"] = "0" * 64
    about.write_text(json.dumps(told))
    with pytest.raises(InputError, match="another set than the one that was audited"):
        accept(decisions, tmp_path / "nowhere", data=again.path)
    assert not (tmp_path / "nowhere").exists()


def test_from_a_folder_through_a_review_to_a_folder_and_a_set(tmp_path):
    prepared, arrays = audited(tmp_path)
    train = list(arrays)
    brush = np.roll(disc(value=1), 5, axis=1)
    decisions = decide(
        tmp_path / "audit",
        prepared,
        {"case": train[0], "verdict": "accept"},
        {"case": train[1], "verdict": "reject"},
        {"case": train[2], "verdict": "accept", "regions": {"2": "reject"}},
        {"case": train[3], "verdict": None, "painted": {"0": runs(brush)}},
        {"case": train[4], "verdict": "accept", "level": "network"},
        {"case": train[5], "verdict": None, "regions": {"1": "accept"}},
        {"case": train[6], "verdict": "expert"},
    )
    accepted, _ = accept(decisions, tmp_path / "better")
    counts = (accepted.reviewed, accepted.corrected, accepted.in_part, accepted.painted, accepted.untouched)
    assert counts == (5, 4, 1, 1, len(train) - 7)
    assert accepted.experts == (train[6],)
    assert any("Pairs stay as they are" in note for note in accepted.notes)  # one of two regions, of one case
    again = prepared_from(tmp_path / "better", tmp_path / "set-2")
    before, after = by_id(prepared), by_id(again)
    one = arrays[train[2]].given[0].copy()
    one[:3, :3] = 1
    expected = {
        train[0]: arrays[train[0]].corrected["balanced"][0],
        train[1]: arrays[train[1]].given[0],
        train[2]: one,
        train[3]: brush,
        train[4]: arrays[train[4]].corrected["network"][0],
    }
    for id, mask in expected.items():
        assert after[id].role == "gold"
        assert np.array_equal(again.label(after[id]), mask)
        assert np.array_equal(again.given(after[id]), arrays[id].given[0])
    part = arrays[train[5]].given[0].copy()
    part[:3, :3] = 1
    assert np.array_equal(again.label(after[train[5]]), part)
    assert {id: case.role for id, case in after.items() if id not in expected} == {
        id: case.role for id, case in before.items() if id not in expected
    }
    for id in ("case00", "case01"):
        assert np.array_equal(again.label(after[id]), prepared.label(before[id]))
        assert np.array_equal(again.given(after[id]), prepared.given(before[id]))
    old, new = files(tmp_path / "mine"), files(tmp_path / "better")
    assert {name for name in old if old[name] != new[name]} == {f"masks/{train[5]}.png"}
    stored = pixels(tmp_path / "better/gold" / f"{train[0]}.png")[0]
    assert set(np.unique(stored)) == {0, 255}  # as its own values are, though old gold says 1


def test_the_command_says_what_was_done_and_what_to_type_next(tmp_path, capsys):
    prepared, arrays = audited(tmp_path)
    ids = list(arrays)
    decisions = decide(
        tmp_path / "audit",
        prepared,
        {"case": ids[0], "verdict": "accept"},
        {"case": ids[1], "verdict": "expert"},
    )
    out = tmp_path / "a better folder"
    assert main(["accept", str(decisions), "--out", str(out), "--link"]) == 0
    told = capsys.readouterr().out
    assert f"1 of {len(ids)} audited cases reviewed and verified now (gold/), 1 of them corrected" in told
    assert f"1 case left to an expert: {ids[1]}" in told
    assert (out / "images/case00.png").is_symlink()
    words = shlex.split(told.rsplit("next: ", 1)[1])
    assert words[0] == "metadcseg"
    assert main(words[1:]) == 0
    assert len(PreparedSet.open(f"{out}-set").select("gold")) == 3
    assert main(["accept", str(decisions), "--out", str(out)]) == 2
    assert main(["accept", str(decisions)]) == 2


def test_in_place_keeps_what_it_replaces_and_ends_what_was_stopped(tmp_path, monkeypatch):
    prepared, arrays = audited(tmp_path)
    ids, mine = list(arrays), tmp_path / "mine"
    decisions = decide(
        tmp_path / "audit",
        prepared,
        {"case": ids[0], "verdict": "accept"},
        {"case": ids[1], "regions": {"2": "accept"}},
    )
    before = files(mine)
    moved = []

    def stop(source, target):
        if str(target).startswith(str(mine)) and len(moved) == 1:
            raise KeyboardInterrupt
        moved.extend([target] if str(target).startswith(str(mine)) else [])
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(place.os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            accept(decisions, backup=tmp_path / "old")
    accepted, _ = accept(decisions, backup=tmp_path / "old")
    assert (accepted.reviewed, accepted.in_part, accepted.backup) == (1, 1, tmp_path / "old")
    changed = f"masks/{ids[1]}.png"
    assert files(tmp_path / "old") == {changed: before[changed]}
    assert {name for name in before if files(mine)[name] != before[name]} == {changed}
    again = prepared_from(mine, tmp_path / "set-2")
    case = by_id(again)[ids[0]]
    assert np.array_equal(again.label(case), arrays[ids[0]].corrected["balanced"][0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit", "mine", "old", "set", "set-2"]


def test_in_place_a_second_time_is_refused_and_notes_no_line_twice(tmp_path):
    prepared, arrays = audited(tmp_path)
    decisions = decide(tmp_path / "audit", prepared, {"case": next(iter(arrays)), "verdict": "accept"})
    accept(decisions)
    noted = (tmp_path / "mine/corrections.csv").read_bytes()
    with pytest.raises(InputError, match=r"accepted in place already, .* lies in .*mine-before-"):
        accept(decisions)
    accept(decisions, backup=tmp_path / "old")
    assert (tmp_path / "mine/corrections.csv").read_bytes() == noted


def test_a_mask_of_another_format_takes_the_place_of_the_given_one(tmp_path, monkeypatch):
    mine = make_folder(tmp_path / "mine", gold=2)
    for number in range(2, 12):
        (mine / f"masks/case{number:02d}.png").unlink()
        save(mine / f"masks/case{number:02d}.jpg", disc(), quality=95)
    prepared = prepared_from(mine, tmp_path / "set")
    id = next(iter(simulate(tmp_path / "audit", prepared)))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "regions": {"1": "accept"}})

    def stop(file, missing_ok):
        raise KeyboardInterrupt

    accept(decisions, tmp_path / "better")
    with monkeypatch.context() as patch:
        patch.setattr(place.Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            accept(decisions)
    accepted, _ = accept(decisions)
    for folder in (mine, tmp_path / "better"):
        assert [path.name for path in (folder / "masks").glob(f"{id}.*")] == [f"{id}.png"]
    assert sorted(files(accepted.backup)) == [f"masks/{id}.jpg"]


def test_stopped_and_begun_again(tmp_path, monkeypatch):
    prepared, arrays = audited(tmp_path)
    decisions = decide(tmp_path / "audit", prepared, {"case": next(iter(arrays)), "verdict": "accept"})

    def stop(done, total):
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accept(decisions, tmp_path / "better", progress=stop)
    assert not (tmp_path / "better").exists()
    copied = []
    usual = shutil.copy2
    monkeypatch.setattr(place.shutil, "copy2", lambda *paths: copied.append(paths) or usual(*paths))
    accept(decisions, tmp_path / "better")
    assert copied == []  # all of them were there
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "out"])
@pytest.mark.parametrize("without", [True, False], ids=["no version", "another version"])
def test_what_another_version_has_begun_is_begun_anew_and_that_is_said(
    tmp_path, monkeypatch, in_place, without
):
    prepared, arrays = audited(tmp_path)
    ids = list(arrays)
    told = ({"case": ids[0], "verdict": "accept"}, {"case": ids[1], "regions": {"2": "accept"}})
    decisions = decide(tmp_path / "audit", prepared, *told)
    where = {"backup": tmp_path / "old"} if in_place else {"out": tmp_path / "better"}

    def stop(done, total):
        if done == total - 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "_RULES", 0)
        with pytest.raises(KeyboardInterrupt):
            accept(decisions, progress=stop, **where)
    (draft,) = tmp_path.glob(".*.accept-*")
    wrong = draft / ("new" if in_place else "") / "gold" / f"{ids[0]}.png"
    assert wrong.is_file()
    save(wrong, disc() * 0)  # as that version decided
    if without:  # as versions named it that did not name themselves
        draft.rename(draft.with_name(draft.name.rpartition("-")[0]))
    accepted, _ = accept(decisions, **where)
    assert any("another version had begun this" in note for note in accepted.notes)
    held = pixels(accepted.folder / "gold" / f"{ids[0]}.png")[0]
    assert np.array_equal(held > 0, arrays[ids[0]].corrected["balanced"][0] > 0)
    assert not list(tmp_path.glob(".*"))


def halfway(decisions, mine, monkeypatch, rules=None, **options):
    """Stop a call when it has moved two files into a folder; return its draft."""
    moved = []

    def stop(source, target):
        if str(target).startswith(str(mine)):
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patch:
        if rules is not None:
            patch.setattr(acceptance, "_RULES", rules)
        patch.setattr(place.os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            accept(decisions, **options)
    (draft,) = mine.parent.glob(".*.accept-*")
    return draft


@pytest.mark.parametrize(
    ("lacks", "out", "others"),
    [
        ((), None, False),
        ((), "better", False),
        (("audit.txt",), None, True),
        (("audit.txt", "decisions.json"), "better", True),
    ],
)
def test_where_another_version_was_moving_files_it_must_end_that(tmp_path, monkeypatch, lacks, out, others):
    prepared, arrays = audited(tmp_path)
    ids, mine = list(arrays), tmp_path / "mine"
    told = [{"case": ids[0], "verdict": "accept"}, {"case": ids[1], "regions": {"1": "accept"}}]
    decisions = decide(tmp_path / "audit", prepared, *told)
    before = files(mine)
    draft = halfway(decisions, mine, monkeypatch, rules=None if lacks else 0, backup=tmp_path / "old")
    for name in lacks:  # as of versions that did not keep it
        (draft / name).unlink()
    part = files(mine)
    added = set(part) - set(before)
    assert added == {"splits.csv", f"gold/{ids[0]}.png"}
    if others:
        decide(tmp_path / "audit", prepared, told[1])
    with pytest.raises(InputError, match=r"another version of metadcseg when .* end it with that") as refused:
        accept(decisions, out and tmp_path / out)
    assert files(mine) == part
    assert f"copy all in {draft / 'backup'} over {mine}, remove {draft} and the masks" in str(refused.value)
    shutil.copytree(draft / "backup", mine, dirs_exist_ok=True)  # what the sentence says
    shutil.rmtree(draft)
    for name in added:
        (mine / name).unlink()
    assert files(mine) == before
    assert accept(decisions, backup=tmp_path / "older")[0].in_part == 1


def test_a_half_corrected_folder_is_ended_in_the_audit_that_began_it(tmp_path, monkeypatch):
    prepared, arrays = audited(tmp_path)
    ids, mine = list(arrays), tmp_path / "mine"
    told = [{"case": id, "regions": {"1": "accept"}} for id in ids[:3]]
    draft = halfway(decide(tmp_path / "audit", prepared, *told), mine, monkeypatch)
    simulate(tmp_path / "second", prepared)
    about = tmp_path / "second/audit.json"
    about.write_text(about.read_text().replace(IDENTITY, "cd" * 32))
    second = decide(tmp_path / "second", prepared, {"case": ids[3], "verdict": "reject"}, identity="cd" * 32)
    for out in (None, tmp_path / "better"):
        with pytest.raises(InputError) as refused:
            accept(second, out)
        assert f"copy {draft / 'decisions.json'} to {tmp_path / 'audit/stopped.json'}, " in str(refused.value)
    shutil.copy(draft / "decisions.json", tmp_path / "audit/stopped.json")
    monkeypatch.chdir(tmp_path / "audit")
    assert accept(Path("stopped.json"))[0].in_part == 3
    assert not list(tmp_path.glob(".*"))


def test_a_half_corrected_folder_that_was_moved_is_ended(tmp_path, monkeypatch):
    mine = make_folder(tmp_path / "here/mine", gold=2)
    prepared = prepared_from(mine, tmp_path / "set")
    ids = list(simulate(tmp_path / "audit", prepared))
    told = [{"case": id, "regions": {"1": "accept"}} for id in ids[:3]]
    decisions = decide(tmp_path / "audit", prepared, *told)
    halfway(decisions, mine, monkeypatch)
    (tmp_path / "here").rename(tmp_path / "there")
    assert accept(decisions, folder=tmp_path / "there/mine")[0].in_part == 3
    assert not list((tmp_path / "there").glob(".*"))


def test_a_folder_that_is_half_corrected_is_ended_by_the_decisions_of_before(tmp_path, monkeypatch, capsys):
    prepared, arrays = audited(tmp_path)
    ids, mine, audit = list(arrays), tmp_path / "mine", tmp_path / "audit"
    told = [{"case": id, "regions": {"1": "accept"}} for id in ids[:3]]
    decisions = decide(audit, prepared, *told)
    kept = decisions.read_bytes()
    draft = halfway(decisions, mine, monkeypatch)
    part = files(mine)
    with pytest.raises(InputError, match="half corrected: accept these decisions --in-place first"):
        accept(decisions, tmp_path / "better")
    decide(audit, prepared, *told, {"case": ids[3], "verdict": "reject"})
    for where in (["--in-place"], ["--out", str(tmp_path / "better")]):
        assert main(["accept", str(decisions), *where]) == 2
        said = capsys.readouterr().err
        assert f"{mine} was being changed by other decisions when that was stopped" in " ".join(said.split())
    with pytest.raises(InputError) as refused:
        accept(decisions)
    assert f"copy {draft / 'decisions.json'} to {audit / 'stopped.json'}, in the folder" in str(refused.value)
    assert (files(mine), draft.is_dir(), (tmp_path / "better").exists()) == (part, True, False)
    shutil.copy(draft / "decisions.json", audit / "stopped.json")
    assert (audit / "stopped.json").read_bytes() == kept
    accepted, _ = accept(audit / "stopped.json")
    assert accepted.in_part == 3
    assert set(files(accepted.backup)) == {f"masks/{id}.png" for id in ids[:3]}
    assert not list(tmp_path.glob(".*"))


CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def killed(last, work):
    """Carry out work in a process that is killed right before a change of files; return whether it came that far."""
    process = os.fork()
    if process == 0:
        counted = []

        def heard(event, told):
            made = event == "open" and isinstance(told[2], int) and told[2] & os.O_CREAT
            if event in CHANGES or made:
                counted.append(event)
                if len(counted) > last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(heard)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize(("in_place", "last", "step"), [(True, 8, 1), (False, 2, 8)], ids=["in place", "out"])
def test_killed_before_any_change_of_files_the_same_call_ends_it(tmp_path, in_place, last, step):
    prepared, arrays = audited(tmp_path)
    ids = list(arrays)
    told = ({"case": ids[0], "verdict": "accept"}, {"case": ids[1], "regions": {"2": "accept"}})
    decisions = decide(tmp_path / "audit", prepared, *told)
    shutil.copytree(tmp_path / "mine", tmp_path / "original")
    out, place = (None, tmp_path / "mine") if in_place else (tmp_path / "better", tmp_path / "better")
    backup = tmp_path / "old" if in_place else None

    def work():
        accept(decisions, out, backup=backup)

    def found():
        places = [path for path in (place, backup) if path is not None]
        return [files(path) for path in places], sorted(path.name for path in tmp_path.iterdir())

    work()
    whole = found()
    while True:
        for path in (tmp_path / "mine", tmp_path / "better", tmp_path / "old"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "original", tmp_path / "mine")
        if not killed(last, work):
            break
        sweep.cache_clear()  # a process looks once for what others left
        was_done = found()[0] == whole[0] and not list(tmp_path.glob(".*.accept-*"))
        with pytest.raises(InputError, match="already holds") if was_done else nullcontext():
            work()
        assert (last, found()) == (last, whole)
        last += step
    assert last > 20


def test_what_a_call_left_that_was_killed_at_its_end_goes_with_the_next_one(tmp_path):
    prepared, arrays = audited(tmp_path)
    decisions = decide(tmp_path / "audit", prepared, {"case": next(iter(arrays)), "verdict": "accept"})
    accept(decisions, None)
    left = tmp_path / ".metadcseg-0123456789abcdef.tmp"
    (left / "done").mkdir(parents=True)
    sweep.cache_clear()
    with pytest.raises(InputError, match="accepted in place already"):
        accept(decisions, None)
    assert not left.exists()


def test_files_that_changed_since_are_refused(tmp_path):
    prepared, arrays = audited(tmp_path)
    id = next(iter(arrays))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    save(tmp_path / f"mine/masks/{id}.png", np.roll(disc(), 1, axis=1))
    with pytest.raises(InputError, match="was changed since the set was prepared"):
        accept(decisions, tmp_path / "better")
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="say with --folder where its folder is now"):
        accept(decisions, tmp_path / "better")
    save(tmp_path / f"elsewhere/masks/{id}.png", disc())
    accept(decisions, tmp_path / "better", folder=tmp_path / "elsewhere")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "bet"))] == ["better"]


NAMES = [
    "<script>alert(1)</script>".replace("/", "_"),
    "a\"b'c & d; e, f",
    "\u202e\u05d7\u05d5\u05dc\u05d4",
    "x" * 200,
    "%s{0}$HOME",
]


def test_names_are_only_names(tmp_path, capsys):
    for number, name in enumerate([*NAMES, *"abcd"]):
        save(tmp_path / f"mine/images/{name}.png", picture(number))
        save(tmp_path / f"mine/masks/{name}.png", disc())
    prepared = prepared_from(tmp_path / "mine", tmp_path / "set", val=0.0, test=0.0)
    arrays = simulate(tmp_path / "audit", prepared)
    decisions = decide(tmp_path / "audit", prepared, *({"case": name, "verdict": "accept"} for name in NAMES))
    assert main(["accept", str(decisions), "--out", str(tmp_path / "better")]) == 0
    assert main(shlex.split(capsys.readouterr().out.rsplit("next: ", 1)[1])[1:]) == 0
    again = PreparedSet.open(tmp_path / "better-set")
    assert {case.id for case in again.select("gold")} == set(NAMES)
    for case in again.select("gold"):
        assert np.array_equal(again.label(case), arrays[case.id].corrected["balanced"][0])
    with pytest.raises(InputError, match="holds a line break"):
        splits_text({"a\nb": SplitRow("gold", None)})


def test_verified_cases_are_no_matter_of_a_review(tmp_path):
    prepared = prepared_from(make_folder(tmp_path / "mine", gold=2), tmp_path / "set")
    simulate(tmp_path / "audit", prepared, role="gold")
    decisions = decide(tmp_path / "audit", prepared, {"case": "case00", "verdict": "accept"})
    with pytest.raises(InputError, match="case00 has a verified mask already"):
        accept(decisions, tmp_path / "better")


def test_a_case_that_claims_another_size_is_named_before_a_pixel_of_it_is_made(tmp_path, capsys):
    prepared, _ = audited(tmp_path)
    decisions = decide(tmp_path / "audit", prepared, {"case": "case03", "verdict": "accept"})
    path = tmp_path / "audit/cases/case03.npz"
    with np.load(path, allow_pickle=False) as stored:
        held = dict(stored)
    told = json.loads(str(held["case"])) | {"shape": [1, 65536, 65536]}
    np.savez_compressed(path, **{**held, "case": np.array(json.dumps(told))})
    with pytest.raises(InputError, match=r"case 'case03' of \(1, 65536, 65536\), which has .* there"):
        accept(decisions, tmp_path / "better")
    words = ["export-annotations", str(tmp_path / "audit"), "--to", "tiff", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "or the audit was changed" in capsys.readouterr().err
    assert not (tmp_path / "better").exists()
    assert not (tmp_path / "out").exists()


def test_phantoms_become_a_folder(tmp_path):
    cases = phantom_cases(PhantomOptions(count=12, size=32, classes=3), gold=2)
    prepare_cases(cases, tmp_path / "set", name="phantom", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared, label=2)
    id = next(iter(arrays))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    accepted, _ = accept(decisions, tmp_path / "better")
    again = prepared_from(accepted.folder, tmp_path / "set-2")
    assert [case.role for case in again.cases if case.id == id] == ["gold"]
    for case in again.cases:
        old = by_id(prepared)[case.id]
        mask = arrays[id].corrected["balanced"][0] if case.id == id else prepared.label(old)
        assert np.array_equal(again.image(case), prepared.image(old))
        assert np.array_equal(again.label(case), mask)
        assert case.role == ("gold" if case.id == id else old.role)
    with pytest.raises(InputError, match="write a new one with --out"):
        accept(decisions)


def test_formats_values_and_palettes_stay(tmp_path):
    """Each mask keeps its own kind: two values of one class, 16 bits, a palette, TIFF; JPEG becomes PNG."""
    mine = tmp_path / "mine"
    disk = disc(value=1)
    for number in range(9):
        save(mine / f"images/c{number}.png", picture(number))
    mixed = disk * np.uint8(7)
    mixed[8:10, 8:10] = 9
    save(mine / "masks/c0.png", mixed)
    palette = Image.fromarray(disk, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(mine / "masks/c1.png")
    save(mine / "masks/c2.png", (disk * 7.0).astype(np.uint16))
    tifffile.imwrite(mine / "masks/c3.tif", (disk * 900.0).astype(np.uint16))
    tifffile.imwrite(mine / "masks/c4.tif", (disk * 900.0).astype(np.int32))
    save(mine / "masks/c5.jpg", disk * np.uint8(255), quality=95)
    for number in (6, 7, 8):
        save(mine / f"masks/c{number}.png", disk * np.uint8(9))
    roles = {6: "val", 7: "test"}
    rows = [f"c{number},{roles.get(number, 'train')}\n" for number in range(9)]
    (mine / "splits.csv").write_text("id,role\n" + "".join(rows))
    remap = {7: 1, 900: 1, 9: 1}
    prepared = prepared_from(mine, tmp_path / "set", remap=remap)
    arrays = simulate(tmp_path / "audit", prepared)
    all_of_them = [{"case": id, "verdict": "accept"} for id in arrays]
    with pytest.raises(InputError, match="needs one that is not"):
        accept(decide(tmp_path / "audit", prepared, *all_of_them), tmp_path / "better")
    accept(decide(tmp_path / "audit", prepared, *all_of_them[:-1]), tmp_path / "better")
    gold = tmp_path / "better/gold"
    assert sorted(path.name for path in gold.iterdir()) == words("c0.png c1.png c2.png c3.tif c4.tif c5.png")
    first, outside = pixels(gold / "c0.png")[0], arrays["c0"].regions[0] == 0
    assert np.array_equal(first[outside], mixed[outside])
    assert set(np.unique(first[~outside])) == {9}  # the larger of the two values of its class
    assert pixels(gold / "c1.png")[1][:6] == [0, 0, 0, 255, 0, 0]
    assert pixels(gold / "c2.png")[0].dtype == np.uint16
    assert tifffile.imread(gold / "c3.tif").dtype == np.uint16
    assert set(np.unique(tifffile.imread(gold / "c4.tif"))) == {0, 900}
    again = prepared_from(tmp_path / "better", tmp_path / "set-2", remap=remap)
    for case in again.select("gold"):
        assert np.array_equal(again.label(case), arrays[case.id].corrected["balanced"][0])
        assert np.array_equal(again.given(case), arrays[case.id].given[0])
    assert len(again.select("gold")) == 6


def words(text):
    return text.split()


def test_decisions_that_are_not_there_are_named(tmp_path, capsys):
    assert main(["accept", str(tmp_path / "nowhere.json"), "--out", str(tmp_path / "out")]) == 2
    assert "nowhere.json does not exist: name decisions.json in the folder" in capsys.readouterr().err
