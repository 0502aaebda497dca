"""Evidence on real images: Kvasir-SEG, 40 % noise, at a size that two cores manage.

    .venv/bin/python studies/kvasir_small.py --source ../shared/data/kvasir-seg --work /tmp/kvasir --seeds 0

Prepares, checks and corrupts the set, trains five networks per seed (two at a time, one thread each), evaluates them on
the 100 test images, and writes the table to docs/results. Stopped, it goes on where it was. Epochs are chosen on the
validation images by the training itself; nothing is chosen on the test images.
"""

import argparse
import json
import platform
import shlex
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PREPARE = [
    "--gold",
    "16",
    "--limit",
    "316",
    "--seed",
    "0",
]  # 300 noisy + 16 gold; validation and test stay whole
METHODS = {
    "binned": ["--method", "binned", "--binned.dcd", "true"],
    "noisy + gold, plainly supervised": ["--method", "supervised", "--supervised.gold", "mixed"],
    "noisy only": ["--method", "supervised"],
    "clean labels (upper bound)": ["--method", "supervised", "--supervised.labels", "clean"],
    "binned without DCD": ["--method", "binned", "--binned.dcd", "false"],
}
ORDER = [
    "noisy only",
    "noisy + gold, plainly supervised",
    "binned",
    "binned without DCD",
    "clean labels (upper bound)",
]


def metadcseg(*words: str, log: Path) -> tuple[list[str], str]:
    """Run one command; return the words and what it printed on standard output."""
    with log.open("ab") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "metadcseg", *words], stdout=subprocess.PIPE, stderr=errors, check=True
        )
    return ["metadcseg", *words], done.stdout.decode()


def prepare(source: Path, work: Path) -> tuple[Path, dict, list[list[str]]]:
    """Make the clean and the corrupted set; return the latter, its noise report and the commands."""
    log, clean, noisy = work / "prepare.log", work / "set", work / "noisy"
    commands = [
        ["prepare", "kvasir-seg", "--source", str(source), "--out", str(clean), *PREPARE],
        ["check", str(clean), "--json"],
        ["corrupt", str(clean), "--rate", "0.4", "--seed", "0", "--out", str(noisy), "--json"],
    ]
    report = work / "noise.json"
    if not clean.exists():
        metadcseg(*commands[0], log=log)
        metadcseg(*commands[1], log=log)
    if not noisy.exists():
        report.write_text(metadcseg(*commands[2], log=log)[1])
    return noisy, json.loads(report.read_text()), [["metadcseg", *words] for words in commands]


def train_and_evaluate(label: str, seed: int, noisy: Path, work: Path, options: list[str]) -> dict:
    """Train and evaluate one network; return its record with the commands."""
    folder = work / "runs" / f"{''.join(c if c.isalnum() else '-' for c in label)}-{seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    words = ["train", "--data", str(noisy), *METHODS[label], *options, "--seed", str(seed)]
    commands = [metadcseg(*words, "--label", label, "--out", str(folder), "--resume", log=log)[0]]
    command, printed = metadcseg("evaluate", str(folder), "--json", log=log)
    record = json.loads(printed)
    info = json.loads((folder / "run.json").read_text())
    kept = ("summary", "pooled", "empty_predictions", "seed", "declaration", "epochs_done")
    return {
        "label": label,
        **{key: record[key] for key in kept},
        "seconds": info["seconds"],
        "parameters": info["parameters"],
        "best_epoch": info["best"]["epoch"],
        "validation_dsc": info["best"]["dsc"],
        "commands": [shlex.join(words) for words in [*commands, command]],
    }


def table(records: list[dict], noise: dict, facts: dict) -> str:
    """Return the Markdown page of all records."""
    lines = [
        f"# {facts['title']}",
        "",
        f"Noise: rate {noise['rate']:.3f} ± {noise['sd']:.3f} (asked for {noise['target']}), kernel scale "
        f"{noise['scale']:.2f}, {noise['vanished']} of {noise['cases']} masks vanished, hash `{noise['hash'][:12]}`.",
        f"Seeds {facts['seeds']}; {facts['machine']}; {facts['date']}.",
        "Every row's epoch was chosen on the 100 validation images, whose masks are clean: no row is free "
        "of verified masks.",
        "Mean over the 100 test images; ± is the spread over images with one seed, over the seeds' means with several.",
        "",
        "| labels and gold | gold trained on | DSC | IoU | HD (px) | HD95 (px) | NSD | empty | passes | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for label in ORDER:
        runs = [record for record in records if record["label"] == label]
        if not runs:
            continue
        cells = []
        for metric, digits in (("dsc", 3), ("iou", 3), ("hd", 1), ("hd95", 1), ("nsd", 3)):
            means = [run["summary"][metric]["mean"] for run in runs]
            spread = statistics.stdev(means) if len(runs) > 1 else runs[0]["summary"][metric]["sd"]
            cells.append(f"{statistics.mean(means):.{digits}f} ± {spread:.{digits}f}")
        declared = runs[0]["declaration"]
        cells += [
            "/".join(str(run["empty_predictions"]) for run in runs),
            f"{declared['passes']:g}",
            f"{statistics.mean(run['seconds'] for run in runs) / 60:.0f}",
        ]
        lines.append(f"| {label} | {'yes' if declared['supervises_gold'] else 'no'} | {' | '.join(cells)} |")
    lines += [
        "",
        "Commands:",
        "",
        "```",
        *facts["commands"],
        *[c for r in records for c in r["commands"]],
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--name", default="kvasir-small")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    noisy, noise, commands = prepare(options.source, options.work)
    shared = ["--config", "small", "--epochs", str(options.epochs), "--network.width", str(options.width)]
    shared += ["--training.threads", "1"]
    jobs = [(label, seed) for seed in options.seeds for label in METHODS]
    with ThreadPoolExecutor(options.workers) as pool:
        records = list(pool.map(lambda job: train_and_evaluate(*job, noisy, options.work, shared), jobs))
    facts = {
        "title": f"Kvasir-SEG at 96x96, width {options.width}, {options.epochs} epochs: 300 noisy images, 16 gold",
        "seeds": ", ".join(map(str, options.seeds)),
        "machine": f"{platform.machine()}, CPU, one thread per run, {options.workers} runs at a time",
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - started),
        "commands": [shlex.join(words) for words in commands],
    }
    (ROOT / "results" / f"{options.name}.json").write_text(
        json.dumps({"facts": facts, "noise": noise, "records": records}, indent=1) + "\n"
    )
    (ROOT / "docs" / "results" / f"{options.name}.md").write_text(table(records, noise, facts))


if __name__ == "__main__":
    main()
