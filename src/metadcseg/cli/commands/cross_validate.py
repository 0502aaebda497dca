"""``metadcseg cross-validate``: k trainings, each tested on the part of the cases that it has not seen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_gold_option,
    add_trust_option,
    check_seed,
    print_json,
    print_note,
    print_table,
    progress_bar,
    said_of_unverified,
    score_table,
    units_and_gold,
)
from metadcseg.constants import INTERRUPTED
from metadcseg.data.splits.folds import Roles, fold_roles, never_verified
from metadcseg.data.splits.gold_slices import GoldSlices, kept_slices
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.data.store.content import identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.files import output_folder, refuse_link, write_bytes
from metadcseg.results.doubts import doubts
from metadcseg.results.records import same_content
from metadcseg.results.schema import Evaluation, Folds
from metadcseg.schemas import read_plain

if TYPE_CHECKING:  # torch comes with it, for which help need not wait
    from metadcseg.cli.config import RunConfig

DESCRIPTION = """Cross-validate a method: deal the cases of a clean prepared set into folds (patients and equal images
stay whole, foreground is spread evenly), and for each fold corrupt the training masks where --rate is given, train, and
score the fold's own cases. Everything lies in --out: folds.json, fold-1/set, fold-1/run and so on. The same command
goes on where it was stopped and repeats nothing that is done."""


def add_own_options(parser: ArgumentParser) -> None:
    """Add the options that are neither the network's nor the training's nor a method's."""
    parser.add_argument("set", type=str, help="a clean prepared set; its roles are dealt anew")
    parser.add_argument("--out", type=str, required=True, help="the folder of all folds")
    parser.add_argument("--folds", type=int, default=5, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of folds, gold, noise and trainings")
    parser.add_argument(
        "--val", type=float, default=0.1, help="share of the other cases that choose the epoch"
    )
    add_gold_option(parser)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="noise in the training masks, mean of 1 - DSC"
    )
    parser.add_argument("--model", type=str, default="paper", help="kind of noise, as in corrupt")
    parser.add_argument("--epochs", type=int, default=None, help="passes over the training cases")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    add_trust_option(parser)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    from metadcseg.cli.config import add_run_options  # torch comes with it

    add_own_options(parser)
    add_run_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Do what is not done yet, fold by fold; print the scores of all folds."""
    from metadcseg.cli.auto import FITTED, fitted_to_pairs
    from metadcseg.cli.config import check_trust, other_options, run_config

    asked = run_config(options).training  # what is wrong is said before anything is written
    if asked.devices * asked.nodes > 1:
        raise InputError(
            f"cross-validate trains on one device, got training.devices {asked.devices} and training.nodes "
            f"{asked.nodes}: leave them at 1, or train each fold by metadcseg train --data FOLDS/fold-1/set --devices N"
        )
    check_trust(options)
    if others := other_options(options.given, options.method):
        _say(console, others)
    seed = check_seed(options.seed)
    clean, out = PreparedSet.open(Path(options.set)), Path(options.out)
    plan = _plan(clean, out, options, seed, console)
    records = []
    shared: Namespace | None = None
    for number, roles in enumerate(plan["roles"], start=1):
        folder = output_folder(out, f"fold-{number}")
        for name in ("clean", "set", "run"):
            refuse_link(folder / name)
        _say(console, f"fold {number} of {len(plan['roles'])}")
        prepared = _fold_set(clean, folder / "set", roles, {**plan, "fold": number}, console)
        said = []
        if shared is None:  # all folds have the settings of the first
            shared, chosen = _shared(options, prepared, folder / "run")
            check_trust(shared)
            said.append(chosen)
        fold_options, alone = fitted_to_pairs(shared, prepared)  # but each has its own pairs
        told = "; ".join(sentence for sentence in (*said, alone) if sentence) or None
        fitted = FITTED if alone else ()
        record = _fold_run(prepared, folder / "run", run_config(fold_options), seed, console, told, fitted)
        if record is None:
            return INTERRUPTED
        records.append(record)
    summary = _summary(plan, records)
    write_bytes(out / "summary.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    if options.json:
        print_json(summary)
        return 0
    rows = [(f"fold {number}", record) for number, record in enumerate(records, start=1)]
    print_table(score_table(rows, f"{records[0]['label']}: test cases of each fold"))
    dsc = summary["folds"]["dsc"]
    _say(console, f"over the folds: DSC {dsc['mean']:.3f} +- {dsc['sd']:.3f}; {out / 'summary.json'}")
    return 0


def _plan(clean: PreparedSet, out: Path, options: Namespace, seed: int, console: Console) -> dict[str, Any]:
    """Return what ``folds.json`` says, dealing and writing the folds where it is not there."""
    if clean.noise is not None:
        raise InputError(
            f"{clean.path} is corrupted already: give the clean set, and the noise as --rate, so that each fold has "
            "verified masks to be tested on"
        )
    known = identity_of(clean)
    asked = {
        "folds": options.folds,
        "seed": seed,
        "val": options.val,
        "gold": options.gold,
        "rate": options.rate,
        "model": options.model,
    }
    file = out / "folds.json"
    if file.exists():
        plan = read_plain(file, Folds, f"restore it, or give another --out than {out}")
        if len(plan["roles"]) != plan["folds"]:
            raise InputError(
                f"{file}: 'roles' must be of {plan['folds']} folds, got {len(plan['roles'])}; restore it, or give "
                f"another --out than {out}"
            )
        other = [key for key, value in asked.items() if value is not None and plan.get(key) != value]
        if not same_content({"fingerprint": plan["set"], "content": plan.get("content")}, known):
            other.insert(0, "set")
        if other:
            raise InputError(
                f"--out {out} holds a cross-validation with another {', '.join(other)}: give the same, or another --out"
            )
        return plan
    units, asked["gold"], gold = units_and_gold(clean, options.gold, console)
    dealt = fold_roles(units, options.folds, seed=seed, val=options.val, gold=gold)
    if taken := sorted({name for roles in dealt for name in never_verified(units, roles)}):
        print_note(console, said_of_unverified(taken))
    of_set = {"set": known["fingerprint"], "content": known["content"]}
    plan = {
        **of_set,
        **asked,
        "roles": dealt,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(file, json.dumps(plan, indent=1).encode())
    return plan


def _fold_set(
    clean: PreparedSet, path: Path, roles: Roles, note: Mapping[str, Any], console: Console
) -> PreparedSet:
    """Return the set of one fold: the same images under other roles, its training masks corrupted."""
    if path.exists():
        return PreparedSet.open(path)
    from metadcseg.data.synthetic.corruption import corrupt_set  # torch comes with it

    told = {key: note[key] for key in ("fold", "folds", "seed", "val", "gold")}
    gold = GoldSlices.read(note["gold"])
    kept = {} if gold is None else kept_slices(clean, roles, gold, seed=note["seed"])
    if not note["rate"]:
        return resplit_set(clean, path, roles, note=told, kept=kept)
    dealt = path.with_name("clean")
    if not dealt.exists():
        resplit_set(clean, dealt, roles, note=told, kept=kept)
    with progress_bar(console, "corrupting") as advance:
        source = PreparedSet.open(dealt)
        corrupt_set(source, path, note["rate"], note["seed"], progress=advance, model=note["model"])
    return PreparedSet.open(path)


def _shared(options: Namespace, prepared: PreparedSet, first: Path) -> tuple[Namespace, str | None]:
    """Return the options of all folds, and what was chosen in words.

    Where the first run has begun, what words and files leave open is as it has it: a run of an earlier version may
    hold another value than today's default.
    """
    from metadcseg.cli.auto import with_auto
    from metadcseg.cli.resume import settings_of
    from metadcseg.training.run.folder import RunFolder, read_run

    begun = RunFolder(first).info
    if not begun.is_file():
        return with_auto(options, prepared)
    settings = settings_of(read_run(first))
    if "calibrated" in settings:  # whether pairs are used is each fold's own matter
        settings["calibrated"] = {
            key: value for key, value in settings["calibrated"].items() if key != "pairs"
        }
    return options.again(settings, str(begun)), None


def _fold_run(
    prepared: PreparedSet,
    out: Path,
    config: "RunConfig",
    seed: int,
    console: Console,
    chosen: str | None,
    fitted: Sequence[str],
) -> dict[str, Any] | None:
    """Return the record of one fold's test, training and evaluating what is not done; None where stopped."""
    from metadcseg.evaluation.evaluate import evaluate_run  # these wait for torch
    from metadcseg.training import train

    result = train(
        prepared,
        config.method,
        config.network,
        config.training,
        out,
        seed=seed,
        resume=True,
        config=config.to_dict(),
        console=console,
        chosen=chosen,
        fitted=fitted,
    )
    if result.interrupted:
        return None
    file = out / "evaluation" / "test.json"
    if file.exists() and file.with_suffix(".csv").exists():
        record = read_plain(file, Evaluation, "remove it: it is then made again")
        if not doubts(record, {"set": identity_of(prepared), "epochs_done": result.epochs_done}):
            return record
    with progress_bar(console, "evaluating") as advance:
        own = config.network.class_path is not None  # which was consented to
        return evaluate_run(out, prepared, "test", trust_code=own, progress=advance)


def _summary(plan: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of every metric in every fold, and mean and spread over the folds."""
    means = [{name: value["mean"] for name, value in record["summary"].items()} for record in records]
    common = [name for name in means[0] if all(name in each for each in means)]
    return {
        **{key: value for key, value in plan.items() if key != "roles"},
        "method": records[0]["method"],
        "per_fold": means,
        "folds": {
            name: {"mean": fmean(each[name] for each in means), "sd": stdev(each[name] for each in means)}
            for name in common
        },
    }


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
