"""The prepared set: what goes in comes out, damage is named, and a failed writer leaves nothing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numcodecs.zstd import Zstd

from metadcseg.data import ROLES, PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.scratch import sweep

HOSTILE = ["../../x", "/etc/passwd", "a/b", "", "café 心", "a\nb", "x" * 300, "\udcff", "con:*?\x00"]


def _image(rng, height, width, channels=2, dtype="uint8"):
    values = rng.integers(0, 200, (height, width, channels))
    return (values / 7).astype(dtype) if dtype == "float32" else values.astype(dtype)


def _mask(rng, height, width):
    mask = rng.integers(0, 2, (height, width)).astype(np.uint8)
    mask[0, :3] = (0, 1, 255)
    return mask


def _writer(out, **options):
    given = {"name": "tiny", "classes": ("background", "organ"), "channels": 2} | options
    return SetWriter(out, **given)


def _write(out, sizes=((5, 7), (6, 6), (5, 7)), noise=None):
    """Write a set with one case per size, alternating truth and none; return what went in."""
    rng = np.random.default_rng(0)
    given = []
    with _writer(out, noise=noise) as writer:
        for number, size in enumerate(sizes):
            case = {
                "id": f"case {number}",
                "role": ROLES[number % 4],
                "group": f"patient {number // 2}",
                "image": _image(rng, *size),
                "label": _mask(rng, *size),
                "truth": _mask(rng, *size) if number % 2 == 0 else None,
                "spacing": (0.5, 0.75) if number % 2 else None,
            }
            writer.add(**case)
            given.append(case)
    return given


@pytest.fixture
def folder(tmp_path):
    _write(tmp_path / "set", noise={"rate": 0.4, "draws": [1, 2]})
    return tmp_path / "set"


def test_what_goes_in_comes_out(tmp_path):
    given = _write(tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert (prepared.name, prepared.classes, prepared.channels) == ("tiny", ("background", "organ"), 2)
    assert prepared.noise is None
    assert len(prepared.cases) == 3
    for row, (case, put) in enumerate(zip(prepared.cases, given, strict=True)):
        assert (case.row, case.id, case.role, case.group) == (row, put["id"], put["role"], put["group"])
        assert (case.height, case.width) == put["image"].shape[:2]
        assert case.spacing == put["spacing"]
        assert case.has_truth == (put["truth"] is not None)
        assert np.array_equal(prepared.image(case), put["image"])
        assert np.array_equal(prepared.label(case), put["label"])
        if case.has_truth:
            assert np.array_equal(prepared.truth(case), put["truth"])
    assert prepared.verify() == []


def test_all_image_dtypes_and_a_foreign_byte_order(tmp_path):
    rng = np.random.default_rng(1)
    images = [_image(rng, 4, 4, dtype=dtype) for dtype in ("uint8", "uint16", "float32")]
    images.append((images[1] * 300).astype(">u2"))
    images.append(images[0][::-1, ::-1])
    with _writer(tmp_path / "set") as writer:
        for number, image in enumerate(images):
            writer.add(id=str(number), role="val", group="", image=image, label=_mask(rng, 4, 4))
    prepared = PreparedSet.open(tmp_path / "set")
    for case, image in zip(prepared.cases, images, strict=True):
        assert prepared.image(case).dtype.name == image.dtype.name
        assert np.array_equal(prepared.image(case), image)


def test_many_cases_of_one_size_and_blank_masks(tmp_path):
    blank = np.zeros((4, 4), np.uint8)
    with _writer(tmp_path / "set") as writer:
        for number in range(11):
            image = np.full((4, 4, 2), number, np.uint8)
            writer.add(id=str(number), role="train", group="", image=image, label=blank)
    prepared = PreparedSet.open(tmp_path / "set")
    assert [int(prepared.image(case)[0, 0, 0]) for case in prepared.cases] == list(range(11))
    assert len(list((tmp_path / "set/arrays").iterdir())) == 2
    assert prepared.verify() == []


def test_roles_are_selected_in_order_and_unknown_ones_refused(folder):
    prepared = PreparedSet.open(folder)
    assert [case.id for case in prepared.select("gold")] == ["case 1"]
    assert prepared.select("test") == ()
    with pytest.raises(InputError, match="did you mean 'train'"):
        prepared.select("trian")


def test_other_roles_in_memory_change_nothing_on_disk(folder):
    held = PreparedSet.open(folder)
    first = held.cases[0]
    other = held.with_roles({first.id: "val"})
    assert [case.role for case in other.cases] == ["val", *(case.role for case in held.cases[1:])]
    assert first.id in {case.id for case in other.select("val")}
    np.testing.assert_array_equal(other.image(other.cases[0]), held.image(first))
    assert other.fingerprint != held.fingerprint == PreparedSet.open(folder).fingerprint
    with pytest.raises(InputError, match="role"):
        held.with_roles({first.id: "exam"})


def test_truth_of_a_case_without_one_and_a_case_of_another_set(folder, tmp_path):
    prepared = PreparedSet.open(folder)
    with pytest.raises(InputError, match="'case 1' has no reference mask"):
        prepared.truth(prepared.cases[1])
    _write(tmp_path / "other", sizes=[(9, 9)])
    with pytest.raises(InputError, match="is not of"):
        prepared.image(PreparedSet.open(tmp_path / "other").cases[0])


def test_noise_source_and_repr(tmp_path):
    noise = {"rate": 0.4, "draws": [{"id": str(n), "kernel": 7} for n in range(500)]}
    _write(tmp_path / "set", noise=noise)
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.noise == noise
    assert "1 train, 1 gold, 1 val, 0 test" in repr(prepared)
    assert "corrupted" in repr(prepared)
    with pytest.raises(InputError, match="noise must hold JSON values"):
        _writer(tmp_path / "other", noise={"a": {1, 2}})


def test_the_checksum_of_an_image_tells_duplicates(tmp_path):
    rng = np.random.default_rng(2)
    image = _image(rng, 4, 6)
    images = [image, image.copy(), image.reshape(6, 4, 2), image.astype("uint16")]
    with _writer(tmp_path / "set") as writer:
        for number, same in enumerate(images):
            size = same.shape[:2]
            writer.add(id=str(number), role="train", group="", image=same, label=_mask(rng, *size))
    prepared = PreparedSet.open(tmp_path / "set")
    hashes = [prepared.checksums(case)["image"] for case in prepared.cases]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_equal_content_gives_an_equal_fingerprint(tmp_path):
    _write(tmp_path / "a")
    _write(tmp_path / "b")
    _write(tmp_path / "c", sizes=[(5, 7)])
    prints = [PreparedSet.open(tmp_path / name).fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_hostile_ids_are_kept_and_never_used_as_paths(tmp_path):
    rng = np.random.default_rng(3)
    inner = tmp_path / "inner"
    with _writer(inner / "set") as writer:
        for name in HOSTILE:
            writer.add(id=name, role="train", group=name, image=_image(rng, 4, 4), label=_mask(rng, 4, 4))
    prepared = PreparedSet.open(inner / "set")
    assert [case.id for case in prepared.cases] == HOSTILE
    assert prepared.verify() == []
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in inner.iterdir()] == ["set"]
    names = {path.name for path in (inner / "set").rglob("*") if path.is_file()}
    assert all(name.startswith("c.") or name in _plain_names() for name in names)


def _plain_names():
    return {"set.json", "cases.jsonl", "SHA256SUMS", "zarr.json"}


def _flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["set.json", "cases.jsonl", "noise.json"])
def test_a_flipped_byte_in_a_table_is_found_at_opening(folder, name):
    size = (folder / name).stat().st_size
    for position in {0, 3, size // 2, size - 1}:
        _flip(folder / name, position)
        with pytest.raises(InputError, match=rf"{name} does not match its checksum.*prepare the set again"):
            PreparedSet.open(folder)
        _flip(folder / name, position)
    PreparedSet.open(folder)


def test_a_flipped_byte_in_the_list_of_checksums_never_passes(folder):
    content = (folder / "SHA256SUMS").read_bytes()
    size = len(content)
    newlines = {position for position, byte in enumerate(content) if byte == ord("\n")}
    for position in sorted(newlines | set(range(0, size, 5))):
        _flip(folder / "SHA256SUMS", position)
        try:
            sentences = PreparedSet.open(folder).verify()
        except InputError as error:
            sentences = [str(error)]
        _flip(folder / "SHA256SUMS", position)
        assert sentences or position == size - 1, position  # the last newline says nothing


def test_the_list_of_checksums_covers_every_table_and_is_right(folder):
    lines = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    tables = {path for path in folder.rglob("*") if path.name in _plain_names() | {"noise.json"}}
    assert set(lines) == {path.relative_to(folder).as_posix() for path in tables if path.name != "SHA256SUMS"}
    for name, value in lines.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == value


def _chunks(folder):
    return sorted(path for path in folder.glob("arrays/*/c.*"))


def test_a_flipped_byte_in_any_array_file_is_found_at_reading_and_named(folder):
    read = {"image": PreparedSet.image, "label": PreparedSet.label, "truth": PreparedSet.truth}
    assert len(_chunks(folder)) == 3 + 3 + 2
    for file in _chunks(folder):
        kind = file.parent.name.split("-")[0]
        size = file.stat().st_size
        for position in {0, size // 2, size - 1}:
            _flip(file, position)
            prepared = PreparedSet.open(folder)
            sentences = prepared.verify()
            assert len(sentences) == 1
            assert str(file) in sentences[0]
            assert f"the {kind} of case 'case " in sentences[0]
            assert "prepare the set again" in sentences[0]
            assert "\n" not in sentences[0]
            damaged = next(case for case in prepared.cases if f"{case.id!r}" in sentences[0])
            with pytest.raises(InputError, match=f"the {kind} of case"):
                read[kind](prepared, damaged)
            _flip(file, position)
    assert PreparedSet.open(folder).verify() == []


@pytest.mark.parametrize("kept", [0, 1, 10])
def test_truncated_and_missing_array_files_are_named(folder, kept):
    for file in _chunks(folder)[::3]:
        whole = file.read_bytes()
        file.write_bytes(whole[:kept])
        (sentence,) = PreparedSet.open(folder).verify()
        assert str(file) in sentence
        file.unlink()
        (sentence,) = PreparedSet.open(folder).verify()
        assert str(file) in sentence
        file.write_bytes(whole)


def test_a_missing_blank_mask_is_found(tmp_path):
    with _writer(tmp_path / "set") as writer:
        blank = np.zeros((4, 4), np.uint8)
        writer.add(id="a", role="train", group="", image=np.ones((4, 4, 2), np.uint8), label=blank)
    (tmp_path / "set/arrays/label-00000/c.0.0.0").unlink()
    (sentence,) = PreparedSet.open(tmp_path / "set").verify()
    assert "the label of case 'a'" in sentence


def test_two_array_files_exchanged_are_found(folder):
    first, second = (folder / f"arrays/image-00000/c.{number}.0.0.0" for number in range(2))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert len(PreparedSet.open(folder).verify()) == 2


def test_damaged_array_metadata_is_named_with_its_case(folder):
    file = folder / "arrays/label-00000/zarr.json"
    _flip(file, file.stat().st_size // 2)
    sentences = PreparedSet.open(folder).verify()
    assert len(sentences) == 2
    assert all(str(file) in sentence and "case 'case" in sentence for sentence in sentences)


@pytest.mark.parametrize("name", ["cases.jsonl", "noise.json", "SHA256SUMS"])
def test_a_missing_table_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        PreparedSet.open(folder)


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_what_is_not_a_set_is_said(tmp_path, what):
    path = tmp_path / "set"
    if what == "empty":
        path.mkdir()
    if what == "file":
        path.write_text("hello")
    with pytest.raises(InputError, match="is not a prepared set"):
        PreparedSet.open(path)


def _reseal(folder, edit_manifest=None, edit_row=None):
    """Change the tables and make all checksums fit again: what somebody hostile would do."""
    rows = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    if edit_row:
        edit_row(rows[0])
    table = "".join(json.dumps(row) + "\n" for row in rows).encode()
    manifest = json.loads((folder / "set.json").read_text())
    manifest["sha256"]["cases.jsonl"] = hashlib.sha256(table).hexdigest()
    if edit_manifest:
        edit_manifest(manifest)
    data = json.dumps(manifest).encode()
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    lines = [line for line in lines if not line.endswith(("set.json", "cases.jsonl"))]
    lines.append(f"{hashlib.sha256(data).hexdigest()}  set.json")
    lines.append(f"{hashlib.sha256(table).hexdigest()}  cases.jsonl")
    (folder / "cases.jsonl").write_bytes(table)
    (folder / "set.json").write_bytes(data)
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda row: row.update(height=10**9), "'height' must be a whole number <= 65536"),
        (lambda row: row.update(height=60_000, width=60_000), "values that no set can have"),
        (lambda row: row.update(height=-1), "'height' must be a whole number >= 1"),
        (lambda row: row.update(role="king"), "must be one of train, gold, val, test, got 'king'"),
        (
            lambda row: row.update(dtype="object"),
            "must be one of uint8, uint16, float16, float32, got 'object'",
        ),
        (lambda row: row.update(spacing=[0, 1]), "'spacing...' must be a number > 0"),
        (lambda row: row.update(row=5), "values that no set can have"),
        (lambda row: row["arrays"]["image"].update(array="../../etc"), "must be text matching"),
        (lambda row: row["arrays"]["image"].update(index=-1), "must be a whole number >= 0"),
        (lambda row: row["arrays"].pop("label"), "values that no set can have"),
        (lambda row: row.pop("group"), "it lacks 'group'"),
        (lambda row: row.update(arrays=3), "must be an object, got 3"),
        (lambda row: row.update(spacing=[1]), "'spacing' must be a list of length 2"),
    ],
)
def test_a_resealed_table_with_hostile_values_is_refused(folder, edit, sentence):
    _reseal(folder, edit_row=edit)
    with pytest.raises(InputError, match=f"cases.jsonl: line 1.*{sentence}"):
        PreparedSet.open(folder)


@pytest.mark.parametrize(
    "edit", [lambda row: row.update(height=4000), lambda row: row.update(dtype="uint16")]
)
def test_sizes_in_the_table_must_be_those_of_the_array(folder, edit):
    _reseal(folder, edit_row=edit)
    prepared = PreparedSet.open(folder)
    with pytest.raises(InputError, match=r"case 'case 0': .*where the table says"):
        prepared.image(prepared.cases[0])


def _sealed_again(folder, name):
    """Make the checksums fit a changed ``zarr.json``."""
    file = folder / "arrays" / name / "zarr.json"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    lines = [line for line in lines if not line.endswith(f"{name}/zarr.json")]
    lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  arrays/{name}/zarr.json")
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def test_a_chunk_that_claims_to_be_large_is_not_unpacked(folder):
    """192 KiB of zstd stand for 6 GiB of zeros; the frame says so, or keeps silent about its size."""
    zeros = Zstd(level=1).encode(np.zeros(2**22, np.uint8))
    silent = bytearray(zeros)
    silent[4] &= 0b00111111  # no size of the content ...
    silent[4] &= 0b11011111  # ... and a window in its place
    chunk = folder / "arrays" / "image-00000" / "c.0.0.0.0"
    prepared = PreparedSet.open(folder)
    for data, says in (
        (zeros, "unpacks to 4194304 bytes in place of 70"),
        (bytes(silent), "an unknown number of bytes"),
        (b"", "not packed by zstd"),
        (b"\x50\x2a\x4d\x18" + b"\xff" * 20, "not packed by zstd"),
    ):
        chunk.write_bytes(data + google_crc32c.value(data).to_bytes(4, "little"))
        with pytest.raises(InputError, match=rf"c\.0\.0\.0\.0: the image of case 'case 0' .*{says}"):
            prepared.image(prepared.cases[0])
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(InputError, match="must be a regular file, it is a pipe"):
        prepared.image(prepared.cases[0])


@pytest.mark.parametrize("codecs", [["bytes"], ["bytes", "gzip", "crc32c"], ["sharding_indexed"], "zstd"])
def test_chunks_that_are_packed_otherwise_are_not_read(folder, codecs):
    file = folder / "arrays" / "image-00000" / "zarr.json"
    told = json.loads(file.read_text())
    told["codecs"] = [{"name": name} for name in codecs] if isinstance(codecs, list) else codecs
    file.write_text(json.dumps(told))
    _sealed_again(folder, "image-00000")
    prepared = PreparedSet.open(folder)
    with pytest.raises(InputError, match=r"zarr.json: (chunks must be packed by|'codecs' must be a list)"):
        prepared.image(prepared.cases[0])


def test_an_index_beyond_the_array_is_named(folder):
    _reseal(folder, edit_row=lambda row: row["arrays"]["image"].update(index=99))
    prepared = PreparedSet.open(folder)
    with pytest.raises(InputError, match="the image of case 'case 0' cannot be read"):
        prepared.image(prepared.cases[0])


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda manifest: manifest.update(version=3), "format must be metadcseg-set 1 or 2, got"),
        (lambda manifest: manifest.update(version=2), "contradict each other"),
        (lambda manifest: manifest.update(format="x"), "format must be"),
        (lambda manifest: manifest.update(channels="3"), "'channels' must be a whole number, got '3'"),
        (lambda manifest: manifest.update(channels=0), "'channels' must be a whole number >= 1"),
        (lambda manifest: manifest.update(classes=["background"]), "'classes' must be a list of length >= 2"),
        (lambda manifest: manifest.update(sha256={"cases.jsonl": None}), "must be text, got null"),
        (lambda manifest: manifest.update(classes=[1, 2]), "must be text, got 1"),
        (lambda manifest: manifest.update(cases=4), "holds 3 of 4 cases"),
        (lambda manifest: manifest.pop("sha256"), "it lacks 'sha256'"),
    ],
)
def test_a_resealed_manifest_with_wrong_values_is_refused(folder, edit, sentence):
    _reseal(folder, edit_manifest=edit)
    with pytest.raises(InputError, match=sentence):
        PreparedSet.open(folder)


_GOOD = {"id": "a", "role": "train", "group": "g"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"role": "training"}, "did you mean 'train'"),
        ({"image": np.zeros((4, 4), np.uint8)}, r"image must be \(H, W, 2\)"),
        ({"image": np.zeros((4, 4, 3), np.uint8)}, r"image must be \(H, W, 2\)"),
        ({"image": np.zeros((4, 4, 2), np.int32)}, "got .* of int32"),
        ({"image": np.zeros((0, 4, 2), np.uint8), "label": np.zeros((0, 4), np.uint8)}, "cannot be stored"),
        ({"image": np.full((4, 4, 2), np.nan, np.float32)}, "NaN"),
        ({"label": np.zeros((4, 5), np.uint8)}, r"label must be \(4, 4\)"),
        ({"label": np.zeros((4, 4), np.int64)}, "of int64"),
        ({"label": np.full((4, 4), 2, np.uint8)}, "label holds the value 2"),
        ({"truth": np.full((4, 4), 7, np.uint8)}, "truth holds the value 7"),
        ({"spacing": (1.0, -1.0)}, "spacing must be two positive numbers"),
        ({"spacing": (1.0, float("nan"))}, "spacing must be two positive numbers"),
    ],
)
def test_a_case_that_does_not_fit_is_refused_by_name(tmp_path, change, sentence):
    good = _GOOD | {"image": np.ones((4, 4, 2), np.uint8), "label": np.eye(4, dtype=np.uint8)}
    with _writer(tmp_path / "set") as writer:
        with pytest.raises(InputError, match=sentence):
            writer.add(**(good | change))
        writer.add(**good)
        with pytest.raises(InputError, match="case 'a' is given twice"):
            writer.add(**good)
    assert len(PreparedSet.open(tmp_path / "set").cases) == 1


@pytest.mark.parametrize("options", [{"classes": ("background",)}, {"channels": 0}])
def test_a_set_needs_classes_and_channels(tmp_path, options):
    with pytest.raises(InputError, match="must"):
        _writer(tmp_path / "set", **options)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_writer_that_fails_leaves_nothing(tmp_path, error):
    rng = np.random.default_rng(4)

    def work():
        with _writer(tmp_path / "set") as writer:
            writer.add(id="a", role="train", group="", image=_image(rng, 4, 4), label=_mask(rng, 4, 4))
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_set_without_cases_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="needs at least one case"), _writer(tmp_path / "set"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_writer_that_is_stopped_leaves_no_half_set(tmp_path, kind):
    script = f"""
import signal
import numpy as np
from metadcseg.data import SetWriter
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background hands on that it is ignored
with SetWriter({str(tmp_path / "set")!r}, name="x", classes=("background", "a"), channels=1) as writer:
    for number in range(10**6):
        writer.add(id=str(number), role="train", group="", image=np.ones((4, 4, 1), np.uint8),
                   label=np.eye(4, dtype=np.uint8))
        if number == 5:
            import sys; sys.stdout.write("started\\n"); sys.stdout.flush()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with child:
        try:
            assert child.stdout.readline() == "started\n"
            child.send_signal(kind)
            assert child.wait(timeout=30) != 0
        finally:
            child.kill()
    left = [path.name for path in tmp_path.iterdir()]
    if kind == signal.SIGINT:
        assert left == []
    else:  # nobody can clean up after a kill, but what is left is not taken for a set
        assert [name.startswith(".metadcseg-") for name in left] == [True]
        sweep.cache_clear()  # as in a new process
    _write(tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert PreparedSet.open(tmp_path / "set").verify() == []


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    _write(tmp_path / "set")
    before = PreparedSet.open(tmp_path / "set").fingerprint
    # of processes that were killed when their sets were in their places
    left = [place / ".metadcseg-0123456789abcdef.tmp" for place in (tmp_path, tmp_path / "new")]
    for place in left:
        place.mkdir(parents=True)
    sweep.cache_clear()
    _writer(tmp_path / "new/folder/set")
    with pytest.raises(InputError, match="already holds a prepared set; name another folder or remove it"):
        _writer(tmp_path / "set")
    assert not any(place.exists() for place in left)
    assert PreparedSet.open(tmp_path / "set").fingerprint == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"already holds 'notes\.txt'"):
        _writer(tmp_path / "other")
    with pytest.raises(InputError, match="is a file"):
        _writer(tmp_path / "other/notes.txt")


def test_a_folder_filled_while_writing_is_left_alone(tmp_path):
    rng = np.random.default_rng(5)

    def work():
        with _writer(tmp_path / "set") as writer:
            writer.add(id="a", role="train", group="", image=_image(rng, 4, 4), label=_mask(rng, 4, 4))
            (tmp_path / "set").mkdir()
            (tmp_path / "set/notes.txt").write_text("mine")

    with pytest.raises(InputError, match="already holds"):
        work()
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "notes.txt"]


def test_an_empty_folder_and_missing_parents_are_used(tmp_path):
    (tmp_path / "set").mkdir()
    _write(tmp_path / "set")
    _write(tmp_path / "a/b/set")
    assert (
        len(PreparedSet.open(tmp_path / "set").cases)
        == len(PreparedSet.open(tmp_path / "a/b/set").cases)
        == 3
    )


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(_handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); free some space"):
        _write(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_reading_in_two_lines_does_not_load_torch(folder):
    script = f"""
from metadcseg.data import PreparedSet
image = (prepared := PreparedSet.open({str(folder)!r})).image(prepared.cases[0])
import sys; sys.stdout.write(f"{{image.shape}} {{'torch' in sys.modules}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "(5, 7, 2) False"


EDGES = {"detector": "by hand", "sha256": "0" * 64}


def _write_edges(out, edges):
    rng = np.random.default_rng(7)
    with _writer(out, edge_detector=EDGES) as writer:
        for number, values in enumerate(edges):
            image, label = _image(rng, 6, 9), _mask(rng, 6, 9)
            writer.add(id=f"case {number}", role="train", group="", image=image, label=label, edges=values)


def test_edges_come_back_with_what_made_them(tmp_path):
    given = [np.arange(54, dtype=np.uint8).reshape(6, 9), np.zeros((6, 9), np.uint8)]
    _write_edges(tmp_path / "set", given)
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.edge_detector == EDGES
    assert [case.has_edges for case in prepared.cases] == [True, True]
    for case, edges in zip(prepared.cases, given, strict=True):
        assert np.array_equal(prepared.edges(case), edges)
    assert prepared.verify() == []


def test_damaged_edges_are_named(tmp_path):
    _write_edges(tmp_path / "set", [np.ones((6, 9), np.uint8)])
    file = tmp_path / "set/arrays/edges-00000/c.0.0.0"
    file.write_bytes(file.read_bytes()[:-3])
    prepared = PreparedSet.open(tmp_path / "set")
    with pytest.raises(InputError, match=r"c\.0\.0\.0: the edges of case 'case 0'"):
        prepared.edges(prepared.cases[0])
    assert len(prepared.verify()) == 1


def test_a_set_without_edges_says_how_to_get_them(folder):
    prepared = PreparedSet.open(folder)
    assert prepared.edge_detector is None
    assert not any(case.has_edges for case in prepared.cases)
    with pytest.raises(InputError, match="has no edges; prepare the set again without --edges none"):
        prepared.edges(prepared.cases[0])


def test_edges_belong_to_every_case_or_to_none(tmp_path):
    with pytest.raises(InputError, match="'case 1' has no edges, but the set names an edge_detector"):
        _write_edges(tmp_path / "set", [np.ones((6, 9), np.uint8), None])
    rng = np.random.default_rng(8)
    case = {"id": "a", "role": "train", "group": "", "image": _image(rng, 4, 4), "label": _mask(rng, 4, 4)}

    def add(**changes):
        with _writer(tmp_path / "set", edge_detector=changes.pop("edge_detector", None)) as writer:
            writer.add(**(case | changes))

    with pytest.raises(InputError, match="'a' has edges, but the set names no edge_detector"):
        add(edges=np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"edges must be \(4, 4\) of uint8 like its image, got \(4, 5\)"):
        add(edges=np.ones((4, 5), np.uint8), edge_detector=EDGES)
    with pytest.raises(InputError, match=r"uint8 like its image, got .* of float32"):
        add(edges=np.ones((4, 4), np.float32), edge_detector=EDGES)
    assert list(tmp_path.iterdir()) == []
