"""Archives that mean no good are refused with one sentence, and nothing of them is left behind."""

import errno
import io
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from metadcseg.data.download import unpack as unpacking
from metadcseg.data.download.unpack import unpack
from metadcseg.errors import InputError
from metadcseg.scratch import sweep


def make_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def make_tar(path, *members):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as file:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def info(name, kind, target=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


GOOD = (
    ("data/a.txt", b"one"),
    ("data/inner/b.bin", bytes(3000)),
    ("data/._a.txt", b"x"),
    ("__MACOSX/data/c", b"x"),
)


@pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar"), (make_tar, "a.tar.gz")])
def test_files_come_out_as_they_went_in(make, name, tmp_path):
    seen = []
    out = unpack(make(tmp_path / name, *GOOD), tmp_path / "out", progress=lambda *done: seen.append(done))
    assert out == [tmp_path / "out/data"]
    assert contents(tmp_path / "out") == {"data/a.txt": b"one", "data/inner/b.bin": bytes(3000)}
    assert seen == [(1, 2), (2, 2)]
    assert stat.S_IMODE((tmp_path / "out/data/a.txt").stat().st_mode) == 0o644
    left = tmp_path / "out/.metadcseg-0123456789abcdef.tmp"  # of a process that was killed while it unpacked
    left.mkdir()
    sweep.cache_clear()
    with pytest.raises(InputError, match="is in the way of"):
        unpack(tmp_path / name, tmp_path / "out")
    assert not left.exists()


NAMES = [
    ("../out.txt", "leads out of the folder"),
    ("a/../../out.txt", "leads out of the folder"),
    ("/etc/out.txt", "leads out of the folder"),
    ("C:/out.txt", "leads out of the folder"),
    ("..\\out.txt", "leads out of the folder"),
    ("a/nul.txt", "Windows cannot have"),
    ("a /b.txt", "Windows cannot have"),
    ("a\nb.txt", "has a name that no file should have"),
    ("n" * 300, "has a name that no file should have"),
    ("good.txt/b.txt", "is a file and a folder"),
]


@pytest.mark.parametrize(("name", "says"), NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_elsewhere(make, name, says, tmp_path):
    archive = make(tmp_path / "a.zip", ("good.txt", b"x"), (name, b"y"))
    if make is make_zip:  # zipfile itself rewrites some names when it writes them
        data = archive.read_bytes()
        assert name.encode() in data or "\\" in name
    with pytest.raises(InputError, match=says):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        info("link", tarfile.SYMTYPE, "/etc/passwd"),
        info("link", tarfile.SYMTYPE, "good.txt"),
        info("link", tarfile.LNKTYPE, "good.txt"),
        info("pipe", tarfile.FIFOTYPE),
        info("device", tarfile.CHRTYPE),
    ],
    ids=["symlink", "symlink inside", "hard link", "pipe", "device"],
)
def test_links_and_devices(member, tmp_path):
    archive = make_tar(tmp_path / "a.tar", ("good.txt", b"x"), (member, b""))
    with pytest.raises(InputError, match="is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_a_zip(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(InputError, match="is a link or a device"):
        unpack(make_zip(tmp_path / "a.zip", (link, "/etc/passwd")), tmp_path / "out")


@pytest.mark.parametrize("other", ["data/A.txt", "data/a.txt"])
def test_names_that_come_twice(other, tmp_path):
    archive = make_tar(tmp_path / "a.tar", ("data/a.txt", b"x"), (other, b"y"))
    with pytest.raises(InputError, match="comes twice"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar.gz")])
def test_a_bomb(make, name, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_FREE", 1000)
    archive = make(tmp_path / name, *((f"zeros{number}", bytes(2_000_000)) for number in range(3)))
    with pytest.raises(InputError, match="200 times its size"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_too_many_files_and_too_little_room(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", *((f"f{number}", b"") for number in range(20)))
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 10)
    with pytest.raises(InputError, match="holds 20 files, at most 10"):
        unpack(archive, tmp_path / "out")
    archive = make_tar(tmp_path / "b.tar", *((f"f{number}", b"") for number in range(20)))
    with pytest.raises(InputError, match="holds more than it may"):
        unpack(archive, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    archive = make_zip(tmp_path / "c.zip", ("a", bytes(100)))
    with pytest.raises(InputError, match="which are not free"):
        unpack(archive, tmp_path / "out")
    monkeypatch.undo()

    def full(source, target, *size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking.shutil, "copyfileobj", full)  # another program may take the room meanwhile
    with pytest.raises(InputError, match="the disk is full"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["cut", "bits", "text"])
@pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar"), (make_tar, "a.tar.gz")])
def test_damaged_archives(make, name, kind, tmp_path):
    archive = make(tmp_path / name, ("a.bin", bytes(range(256)) * 400))
    data = bytearray(archive.read_bytes())
    if kind == "bits" and name == "a.tar":
        pytest.skip("a plain tar has no checksum of contents: the download's own is what tells")
    if kind == "cut":
        data = data[: len(data) // 2]
    elif kind == "bits":
        data[len(data) // 2] ^= 255
    else:
        data = bytearray(b"no archive at all" * 100)
    archive.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def raw_tar(path, *blocks):
    path.write_bytes(b"".join(blocks) + bytes(1024))
    return path


def block(size=0, kind=b"0", change=lambda held: held):
    made = info("a", kind)
    made.size = size
    held = bytearray(made.tobuf(tarfile.GNU_FORMAT)[:512])
    change(held)
    held[148:156] = b" " * 8
    held[148:156] = b"%06o\0 " % sum(held)
    return bytes(held)


def put(start, content):
    def change(held):
        held[start : start + len(content)] = content

    return change


def pax(text):
    return block(len(text), b"x") + text.ljust(-(-len(text) // 512) * 512, b"\0") + block()


@pytest.mark.parametrize(
    "blocks",
    [
        [block(2**31, b"x")],
        [block(2**31, b"L")],
        [block(2**31, b"g")],
        [block(2**62)],
        [block(kind=b"S", change=put(386, b"not a number"))],
        [block(change=put(124, b"\xff" * 12))],  # a negative size
        [pax(b"11 size=-9\n")],
        [pax(b"0 a=b\n")],
        [pax(b"99999999999999999999 a=b\n")],
        [pax(b"28 GNU.sparse.realsize=abcd\n")],
        [pax(b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n")],
        [block(), b"no header at all" * 32],
        [b"PK\x03\x04" + bytes(300)],
        [b"PK\x05\x06" + b"\xff" * 18],
        [b"\x1f\x8b" + b"\xff" * 30],
    ],
    ids=range(15),
)
def test_bytes_that_mean_harm(blocks, tmp_path):
    archive = raw_tar(tmp_path / "a.tar", *blocks)
    tracemalloc.start()
    with pytest.raises(
        InputError, match=r"is damaged|link or a device|is a file and|more than it may|times its size"
    ):
        unpack(archive, tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_with_a_zip_behind_it_is_a_tar(tmp_path):
    """Two tools would otherwise unpack two different things from one file."""
    inner = make_zip(tmp_path / "inner.zip", ("other.txt", b"x")).read_bytes()
    archive = make_tar(tmp_path / "a.tar", ("a.txt", b"one"))
    archive.write_bytes(archive.read_bytes() + inner)
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.txt": b"one"}


def test_archives_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none.zip cannot be read \(No such file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be read"):
        unpack(tmp_path, tmp_path / "out")


def test_what_a_killed_call_left_is_gone_after_the_next(tmp_path):
    left = tmp_path / "out" / f".metadcseg-{'0' * 16}.tmp"
    (left / "data").mkdir(parents=True)
    unpack(make_zip(tmp_path / "a.zip", *GOOD), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data"]


def test_a_dangling_link_is_in_the_way(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is in the way of"):
        unpack(make_zip(tmp_path / "a.zip", ("a.txt", b"one")), tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").is_symlink()
