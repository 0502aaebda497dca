"""The command as a user types it, run in this process or in its own, and what the tests look at afterwards."""

import hashlib
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from metadcseg.cli.main import main

COMMAND = str(Path(sys.executable).with_name("metadcseg"))
"""The installed console script."""

TINY = (
    *("--network.width", "2", "--training.size", "32", "--training.batch", "4", "--training.gold_batch", "4"),
    *("--training.threads", "1", "--training.accelerator", "cpu", "--training.figure_every", "0"),
    *("--training.warmup", "0", "--training.lr", "0.05", "--training.augment.zoom", "[1,3]"),
    *("--training.clip", "0.2"),
)
"""Options of a training that takes a fraction of a second per epoch."""


@dataclass(frozen=True)
class Result:
    """How a command ended: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on standard output; fails where anything else is there."""
        return json.loads(self.out)

    @property
    def complaint(self):
        """The one line on standard error that says what is wrong."""
        lines = self.err.splitlines()
        said = [line for line in lines if line.startswith("metadcseg: ")]
        assert lines[-1:] == said[-1:], self.err  # the last word
        return lines[-1]


def cli(*words):
    """Run the command in this process, which spares the seconds that torch takes to load."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in words])
    return Result(status, out.getvalue(), err.getvalue())


def done(*words):
    """Run the command and expect it to work."""
    result = cli(*words)
    assert result.status == 0, result.err
    assert "Traceback" not in result.err
    return result


def refused(*words, says=(), alone=True):
    """Run the command and expect one sentence and exit status 2.

    Args:
        words: of the command line.
        says: what the sentence has to hold: the file or option, what to do.
        alone: nothing else stands on standard error (a training tells its progress there).
    """
    result = cli(*words)
    assert result.status == 2, (result.out, result.err)
    assert result.out == ""
    assert "Traceback" not in result.err
    if alone:
        assert len(result.err.splitlines()) == 1, result.err
    for part in says:
        assert str(part) in result.complaint, result.complaint
    return result


def train(data, out, *words, epochs=1):
    return ("train", "--data", data, "--out", out, "--epochs", epochs, *TINY, *words)


def contents(folder):
    """Return relative path -> sha256 of every file, to see whether earlier work is intact."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def flip_a_byte(path, at=0.5):
    """Damage one bit, in the middle of a file or at another share of its length."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def chunk(prepared, case_id, kind):
    """Return the file that holds one array of one case."""
    lines = (Path(prepared) / "cases.jsonl").read_text().splitlines()
    row = next(row for row in map(json.loads, lines) if row["id"] == case_id)
    place = row["arrays"][kind]
    found = list((Path(prepared) / "arrays" / place["array"]).glob(f"c.{place['index']}.*"))
    assert len(found) == 1
    return found[0]


def first_id(prepared, role):
    """Return the id of the first case of a role."""
    lines = (Path(prepared) / "cases.jsonl").read_text().splitlines()
    return next(row["id"] for row in map(json.loads, lines) if row["role"] == role)


def gradient(height, width, channels=1, scale=1, dtype=np.uint8):
    """Return an image that the network has never seen: a bright blob on a slope, (H, W[, 3])."""
    y, x = np.mgrid[:height, :width]
    blob = 120 * np.exp(-((y - height / 2) ** 2 + (x - width / 3) ** 2) / (height * width / 12))
    gray = (scale * (40 + 80 * x / width + blob)).astype(dtype)
    return gray if channels == 1 else np.stack([gray, gray // 2, 255 - gray], axis=2)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)
