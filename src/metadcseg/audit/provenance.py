"""``corrections.csv`` of a corrected folder: which masks are no longer as somebody drew them, and since which audit."""

from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path

from metadcseg.audit.decisions import Decision
from metadcseg.audit.following import Twin
from metadcseg.audit.plan import CORRECTIONS, GOLD, MASKS, Plan, Reviews
from metadcseg.csv_files import csv_bytes
from metadcseg.errors import InputError
from metadcseg.reading import read_regular

COLUMNS = ("case", "mask", "level", "pixels", "audit")

_PAINTED = "by hand"


def note_corrections(
    plan: Plan,
    earlier: Path | None,
    decisions: Mapping[str, Decision],
    reviews: Reviews,
    twins: Mapping[str, Twin],
    identity: str,
) -> None:
    """Let a plan write a line for every mask that changed, after those of earlier rounds; none is there twice.

    Args:
        plan: of the folder.
        earlier: the folder that it comes from; None: elsewhere.
        decisions: what was decided, by case.
        reviews: what became of it, of the cases whose mask a file holds.
        twins: masks of pairs that were corrected, too.
        identity: of the audit.

    Raises:
        InputError: where the lines of earlier rounds are no regular file, or a file of theirs has another use.
    """
    rows: list[tuple[object, ...]] = []
    for id, reviewed in reviews.items():
        if reviewed.outcome.changed:
            level = _PAINTED if reviewed.outcome.painted else decisions[id].level
            place = GOLD if reviewed.outcome.verified else MASKS
            rows.append((id, place, level, reviewed.outcome.changed, identity))
    rows += [(id, MASKS, twin.level, twin.changed, identity) for id, twin in twins.items()]
    before = None if earlier is None else earlier / CORRECTIONS
    held = b"" if before is None or not before.exists() else read_regular(before).rstrip()
    if not rows and not held:
        return
    header = csv_bytes([COLUMNS])
    if held and held.removeprefix(BOM_UTF8).splitlines()[0] != header.rstrip():
        raise InputError(
            f"{before} is another table than the one of corrections ({','.join(COLUMNS)}), which accept goes on with: "
            "rename it"
        )
    noted = b"\n" + held + b"\n"
    new = [row for row in rows if b"\n" + csv_bytes([row]) not in noted]
    text = (held + b"\n" if held else header) + csv_bytes(new)
    plan.writes[Path(CORRECTIONS)] = lambda out: out.write_bytes(text)
