"""Evidence at the size of two cores: a grid of studies/grids/small from the raw data to its report, in one command.

    .venv/bin/python studies/small_grids.py left-atrium --data ../shared/data --work /tmp/small --workers 2

Lays out the left atrium (LA 2018) so that five volumes train, of which one gives only six gold slices, one chooses the
epoch and two test; of the volumes that train and choose, every other slice, since neighbors say nearly the same.
Kvasir-SEG, ACDC and BraTS 2015 are taken as they are; of the brain tumors of TCGA the slices that show one, by two
raters; of MSD Heart each of three volumes tests once.
Runs the grid, then `metadcseg report`, and keeps what holds no image in results:
tables, learning curves, weights by distance to the outline, and the records of all runs, packed: unpacked elsewhere,
`metadcseg report` makes the same tables of them. Stopped, it goes on where it was; with --kept also on another
machine, from the records that are kept, of finished runs alone.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import nibabel
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECORDS = "records.tar.xz"
GOLD_SLICES = 6
RATERS = ("isen-20", "scan-20")
"""Of the five raters of brain-tcga-4mod those that differ most from the fusion: one draws larger, one smaller."""

LAYOUT = f"every other slice of those that train and choose, {GOLD_SLICES} gold slices"


def lay_out_left_atrium(source: Path, target: Path) -> None:
    """Copy what is used of the volumes into one folder per role, six gold slices of the fifth among it."""
    stamp = target / "layout.txt"
    if target.exists():
        if not stamp.exists() or stamp.read_text() != LAYOUT:
            sys.exit(f"{target} was laid out otherwise (wanted: {LAYOUT}): give another --work")
        return
    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    train, test = sorted((source / "train").glob("*.h5")), sorted((source / "test").glob("*.h5"))
    roles = {"train": train[:4], "gold": train[4:5], "validation": train[5:6], "test": test}
    for role, files in roles.items():
        (draft / role).mkdir(parents=True)
        for file in files:
            with h5py.File(file) as held:
                image, label = held["image"][...], held["label"][...]
            chosen = slices_of(role, label)
            with h5py.File(draft / role / file.name, "w") as cut:
                cut["image"], cut["label"] = image[:, :, chosen], label[:, :, chosen]
    (draft / stamp.name).write_text(LAYOUT)
    draft.rename(target)


def slices_of(role: str, label: np.ndarray) -> np.ndarray:
    """Return the numbers of the slices that a role uses of a volume (H, W, D)."""
    if role == "gold":
        filled = np.flatnonzero(label.any(axis=(0, 1)))
        return filled[np.linspace(0, len(filled) - 1, GOLD_SLICES + 2).round().astype(int)[1:-1]]
    return np.arange(0, label.shape[2], 1 if role == "test" else 2)


def lay_out_brain(source: Path, target: Path) -> None:
    """Write the slices with tumor of two subjects: all labels by one rater, the fusion of all raters is the truth.

    TCGA-FG-6692, on which raters differ, trains but for six gold slices; of TCGA-DU-7294 the lower third of the slices
    chooses the epoch and the rest tests. Classes are joined to one: the tumor.
    """
    if target.exists():
        return
    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    for subject in ("TCGA-FG-6692", "TCGA-DU-7294"):
        place = source / subject
        names = [f"{subject}_{part}_bet.nii.gz" for part in ("t1", "t1c", "t2", "fla")]
        image = np.stack([nibabel.load(place / name).get_fdata(dtype=np.float32) for name in names], axis=3)
        truth = _tumor(place / "fusion" / "simple.nii.gz")
        shown = np.flatnonzero(truth.any(axis=(0, 1)))
        if subject == "TCGA-FG-6692":
            gold = shown[np.linspace(0, len(shown) - 1, GOLD_SLICES + 2).round().astype(int)[1:-1]]
            parts = {"train": np.setdiff1d(shown, gold), "gold": gold}
        else:
            third = len(shown) // 3
            parts = {"validation": shown[:third], "test": shown[third:]}
        for rater in RATERS:
            given = _tumor(place / "segmentation" / f"{rater}.nii.gz")
            for role, slices in parts.items():
                folder = draft / rater / role
                folder.mkdir(parents=True)
                for name, array in (("image", image), ("label", given), ("truth", truth)):
                    held = nibabel.Nifti1Image(array[:, :, slices], np.eye(4))
                    nibabel.save(held, folder / f"{role}-{name}.nii.gz")
    draft.rename(target)


def lay_out_heart(source: Path, target: Path) -> None:
    """Write three sets of the three volumes of MSD Heart, in each of which another one tests.

    The next one trains, its slices with atrium but for six gold ones; of the third every other slice with atrium
    chooses the epoch.
    """
    if target.exists():
        return
    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    names = ("la_005", "la_016", "la_030")
    for place, test in enumerate(names):
        for role, name in zip(
            ("test", "train", "validation"), (test, *names[place + 1 :], *names[:place]), strict=True
        ):
            held = [nibabel.load(source / kind / f"{name}.nii.gz") for kind in ("imagesTr", "labelsTr")]
            label = np.asarray(held[1].dataobj)
            shown = np.flatnonzero(label.any(axis=(0, 1)))
            parts = {role: np.arange(label.shape[2]) if role == "test" else shown[::2]}
            if role == "train":
                gold = slices_of("gold", label)
                parts = {"train": np.setdiff1d(shown, gold), "gold": gold}
            for part, slices in parts.items():
                folder = draft / test / part
                folder.mkdir(parents=True)
                for kind, volume in zip(("image", "label"), held, strict=True):
                    cut = np.asarray(volume.dataobj)[:, :, slices]
                    nibabel.save(nibabel.Nifti1Image(cut, volume.affine), folder / f"{part}-{kind}.nii.gz")
    draft.rename(target)


def _tumor(file: Path) -> np.ndarray:
    return (np.asarray(nibabel.load(file).dataobj) > 0).astype(np.uint8)


def pack_records(out: Path, file: Path) -> None:
    """Pack what was written down of finished runs: scores by case, curves, costs, options; no image, no network.

    A file that has records of more runs stays as it is.
    """
    records = [out / "benchmark.json", *out.glob("rows/*"), *out.glob("sets/*.yaml")]
    for scores in out.glob("runs/**/evaluation/test.json"):  # gold shares are one folder deeper
        run = scores.parents[1]
        records += [found for kind in ("json", "jsonl", "csv") for found in run.rglob(f"*.{kind}")]
    external = (out / "external").rglob("*")
    records += [found for found in external if found.suffix in (".json", ".csv")]
    names = {record.relative_to(out).as_posix(): record for record in records}
    if file.exists():
        with tarfile.open(file) as before:
            lost = set(before.getnames()) - set(names)
        if lost:
            print(f"{file} stays as it is: it has what {out} lacks, such as {min(lost)}", file=sys.stderr)
            return
    with tarfile.open(file, "w:xz") as packed:
        for name, record in sorted(names.items()):
            packed.add(record, name, filter=_of_nobody)


def unpack_records(file: Path, out: Path) -> None:
    """Begin a benchmark's folder with the records of an earlier one."""
    if out.exists():
        sys.exit(f"{out} has runs already: leave --kept out to go on with them, or give another --work")
    if not file.exists():
        sys.exit(f"{file}: no records of this grid are kept, leave --kept out")
    draft = out.with_name(out.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    with tarfile.open(file) as packed:
        packed.extractall(draft, filter="data")
    draft.rename(out)


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main() -> int:
    """Run one grid and keep its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", help="the name of a file in studies/grids/small, or a path")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kept", action="store_true", help="begin with the records in results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lay_out_left_atrium(options.data / "la2018", options.work / "left-atrium")
    lay_out_brain(options.data / "brain-tcga-4mod", options.work / "brain-raters")
    lay_out_heart(options.data / "msd-heart", options.work / "msd-heart")
    for name in ("kvasir-seg", "acdc", "brats2015-deepmedic"):
        if not (options.work / name).exists():
            (options.work / name).symlink_to((options.data / name).resolve())
    grid = Path(options.grid)
    if not grid.suffix:
        grid = ROOT / "studies" / "grids" / "small" / f"{options.grid}.yaml"
    name = grid.stem.removesuffix("-first").removesuffix("-modules")  # they share runs with the whole grid
    out, kept = options.work / "benchmarks" / name, ROOT / "results" / name
    if options.kept:
        unpack_records(kept / RECORDS, out)
    command = [sys.executable, "-m", "metadcseg"]
    words = ["benchmark", str(grid), "--out", str(out), "--data", str(options.work)]
    ended = subprocess.run([*command, *words, "--workers", str(options.workers)], check=False).returncode
    if not (out / "benchmark.json").exists():
        return ended  # the grid was refused
    kept.mkdir(parents=True, exist_ok=True)
    pack_records(out, kept / RECORDS)
    if ended == 130:
        return ended
    subprocess.run([*command, "report", str(out)], check=True)
    for pattern in ("tables/*.csv", "figures/curves-*.png", "figures/distance-*.png"):
        for file in sorted((out / "report").glob(pattern)):
            shutil.copy(file, kept / file.name)
    return ended


if __name__ == "__main__":
    sys.exit(main())
