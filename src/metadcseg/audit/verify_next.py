"""Which cases of a finished audit to verify next, after what was decided of it so far."""

from collections import Counter
from pathlib import Path

from metadcseg.audit.about import read_about
from metadcseg.audit.case_files import read_cases, read_masks
from metadcseg.audit.decisions import read_decisions
from metadcseg.audit.next_cases import Choice, next_cases
from metadcseg.audit.review import review
from metadcseg.audit.units import is_verified, paired_units
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError

DECISIONS = "decisions.json"
"""What a review left, where it was saved into the folder of its audit."""


def verify_next(folder: Path, count: int) -> list[Choice]:
    """Return which cases to verify next (:func:`metadcseg.audit.next_cases.next_cases`).

    Left out are cases that ``decisions.json`` verifies, and those that the set has verified. Its pairs count, too. Of a
    set that is not where it was only the split says who is verified.

    Args:
        folder: of a finished audit.
        count: how many, at least 1.

    Raises:
        InputError: where the folder is no finished audit, a file of it is damaged, or no case is left.

    Example:
        >>> [choice.case.id for choice in verify_next(Path("my_audit"), 10)]  # doctest: +SKIP
        ['case_07', 'case_21']
    """
    about = read_about(folder)
    path = Path(about["set"]["path"])
    cases = read_cases(folder)
    reviewed: set[str] = set()
    if (folder / DECISIONS).is_file():
        decisions = read_decisions(
            folder / DECISIONS,
            identity=about["identity"],
            fingerprint=about["set"]["fingerprint"],
            cases=cases,
            classes=len(about["classes"]),
        )
        known = {case.id: case for case in cases}
        reviewed = {
            id
            for id, decision in decisions.items()
            if review(known[id], read_masks(folder, known[id]), decision)[1].verified
        }
    pairs: Counter[str | None] = Counter()
    audited = {case.id for case in cases}
    verified = {case.id for case in cases if case.split == "gold"}
    if path.is_dir():
        prepared = PreparedSet.open(path)
        units: list[Case | StoredVolume] = list(prepared.volumes)
        units += [case for case in prepared.cases if case.volume is None]
        verified |= {unit.id for unit in units if is_verified(prepared, unit)}
        pairs.update(unit.annotator for unit in paired_units(prepared) if unit.id not in audited)
    if audited <= verified:
        raise InputError(f"{folder}: all cases of the audit are verified already, audit another --split")
    return next_cases(cases, count, reviewed=reviewed | (verified & audited), pairs=pairs)
