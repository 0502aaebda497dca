"""``metadcseg split``: the same prepared set under other roles."""

from collections import Counter
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_gold_option,
    check_seed,
    plain_output,
    print_json,
    print_note,
    said_of_unverified,
    units_and_gold,
)
from metadcseg.data.findings import plural
from metadcseg.data.splits.folds import gold_roles, hold_out_roles, never_verified
from metadcseg.data.splits.gold_slices import GoldSlices, kept_slices
from metadcseg.data.splits.resplit import resplit_set, without_twin
from metadcseg.data.store.reader import ROLES, PreparedSet

DESCRIPTION = """Draw new roles for a clean prepared set and write it under them (images and masks are linked, not
copied). Patients, volumes and equal images stay whole; validation and test get their share of little and of much
foreground. The same seed draws the same roles."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("set", type=str, help="a clean prepared set")
    parser.add_argument("--out", type=str, required=True, help="where the set with the new roles goes")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another draw")
    parser.add_argument("--val", type=float, default=0.1, help="share for validation")
    parser.add_argument("--test", type=float, default=0.1, help="share for the test")
    add_gold_option(parser)
    parser.add_argument(
        "--keep", action="store_true", help="validation and test stay as they are: only gold is drawn anew"
    )
    parser.add_argument("--json", action="store_true", help="print the roles as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Draw, write, and say how many there are of each."""
    source, seed = PreparedSet.open(Path(options.set)), check_seed(options.seed)
    units, text, gold = units_and_gold(source, options.gold, console)
    told = {"seed": seed, "gold": text}
    if options.keep:
        roles = gold_roles(source, units, seed=seed, gold=gold)
    else:
        roles = hold_out_roles(units, seed=seed, val=options.val, test=options.test, gold=gold)
        told |= {"val": options.val, "test": options.test}
    kept = kept_slices(source, roles, gold, seed=seed) if isinstance(gold, GoldSlices) else {}
    resplit_set(source, Path(options.out), roles, note=told, kept=kept)
    notes = []
    if clean := without_twin(source, roles):
        notes.append(
            f"{plural(clean, 'gold case')} without the mask that was replaced come into training with the verified "
            "one: cleaner than the others' labels"
        )
    if taken := never_verified(units, roles):
        notes.append(said_of_unverified(taken))
    for note in notes:
        print_note(console, note)
    if options.json:
        print_json({"path": options.out, "roles": roles, **({"gold_slices": kept} if kept else {})})
        return 0
    counts = Counter(roles.values())
    what = "volumes" if source.volumes else "images"
    dealt = ", ".join(f"{counts[role]} {role}" for role in ROLES)
    held = f"; {sum(map(len, kept.values()))} slices are gold" if kept else ""
    plain_output().print(f"{options.out}: {dealt} ({what}){held}")
    return 0
