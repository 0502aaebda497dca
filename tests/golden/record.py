"""Write the golden values. Only ever run this on purpose, with code whose results are known to be the right ones:

    python -m tests.golden.record values     # golden.json: sets, noise and trainings, in place of all records
    python -m tests.golden.record another    # the same, beside the records of machines that round otherwise
    python -m tests.golden.record old        # old/before.tar.xz and the part "old" of golden.json

from the root of the repository, with PYTHONPATH=src. A test that fails after a change of code is no reason to run it:
the same seed and options gave other bits than before. ``old`` is what the code before the rename left behind; code of
today cannot make it again, so that part stays as it is.
"""

import json
import os
import shutil
import signal
import sys
import tarfile
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import tests.conftest  # one thread, as in the tests  # noqa: F401
import torch
from tests.golden import cases

HERE = Path(__file__).resolve().parent
GOLDEN, OLD = HERE / "golden.json", HERE / "old" / "before.tar.xz"
NOT_NEEDED = ("lock", "tensorboard", "previous.pt")
"""What a run goes on without."""


def values(folder: Path) -> dict:
    """Return the golden values of all cases; fails where a training would guard nothing."""
    workshop, sets, runs = cases.Workshop(folder), {}, {}
    for name in cases.SETS:
        sets[name] = cases.look_at_set(workshop.set(name))
    for name, case in cases.RUNS.items():
        begun = time.monotonic()
        out = workshop.train(name, folder / "run")
        runs[name] = cases.look_at_run(out)
        moved = _moved(out)
        print(f"{name}: {time.monotonic() - begun:.1f} s, weights {moved}", flush=True)
        assert not case.weighs or moved, f"{name}: no weight has moved, so that it would guard nothing"
        shutil.rmtree(out)
    return {"sets": sets, "records": [{"machine": cases.machine(), "runs": runs}]}


def _moved(run: Path) -> float:
    """Return how far weights went from where they began: of shared ones the evidence, of others the means."""
    state = torch.load(run / cases.CHECKPOINT, weights_only=True)
    table = _table(state["method"])
    if table is None:
        means = [epoch["train"] for epoch in cases.epochs_of(run)]
        return max(abs(mean.get("alpha", 1.0) - 1.0) + mean.get("beta", 0.0) for mean in means)
    z = table["sums"] / table["squares"].sqrt().clamp(min=1e-30)
    return max(0.0, float(z.abs().max()) - 3)  # as much as chance would do says nothing


def _table(tree: object) -> dict | None:
    if not isinstance(tree, dict):
        return None
    if "squares" in tree and len(tree["squares"]):
        return tree
    return next((found for value in tree.values() if (found := _table(value))), None)


def old(folder: Path) -> dict:
    """Write the archive of sets and runs, two of them stopped, and return how they have to end."""
    workshop, kept = cases.Workshop(folder), folder / "kept"
    cases.SETS.update(cases.OLD_SETS)
    for name in cases.OLD_SETS:
        shutil.copytree(workshop.set(name), kept / name)
    ends = {"sets": {name: cases.look_at_set(kept / name) for name in cases.OLD_SETS}, "runs": {}}
    for name, options in cases.OLD_RUNS.items():
        whole = folder / f"{name}-whole"
        cases.run(cases.train_words(kept / "images", whole, options))
        ends["runs"][name] = cases.look_at_run(whole)
        out = kept / name
        if name == "finished":
            shutil.copytree(whole, out)
            ends["score"] = score(out, kept / "images")
            shutil.rmtree(out / "evaluation")
            shutil.rmtree(out / "checkpoints")  # large, and of a finished run nobody asks for them
        else:
            stop_within_an_epoch(out, cases.train_words(kept / "images", out, options))
        for path in [path for path in out.rglob("*") if path.name in NOT_NEEDED]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with tarfile.open(OLD, "w:xz") as archive:
        archive.add(kept, ".")
    return ends | {"machine": cases.machine()}


def score(run: Path, data: Path) -> dict:
    """Return what evaluation says of a run."""
    return json.loads(cases.run(cases.evaluate_words(run, data)))["summary"]


def stop_within_an_epoch(out: Path, words: list[str]) -> None:
    """Run a training and press Ctrl-C a little after its third epoch."""

    def press() -> None:
        while not (out / cases.JOURNAL).exists() or len((out / cases.JOURNAL).read_text().splitlines()) < 3:
            time.sleep(0.001)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    cases.run(words, status=130)
    place = torch.load(out / cases.CHECKPOINT, weights_only=True)["position"]
    print(f"{out.name}: stopped in epoch {place['epoch']}, step {place['step']}")
    assert place["step"], "it stopped between two epochs: do it again"


def main() -> None:
    """Record what the words ask for."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with TemporaryDirectory() as folder:
        if sys.argv[1:] == ["values"]:
            golden |= values(Path(folder))
        elif sys.argv[1:] == ["another"]:
            found = values(Path(folder))
            assert found["sets"] == golden["sets"], "sets are the same on every machine with the same vectors"
            golden["records"] = found["records"] + golden["records"]
        elif sys.argv[1:] == ["old"]:
            golden["old"] = old(Path(folder))
        else:
            sys.exit(__doc__)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
