"""Decisions of a review become masks: a corrected folder, from which a set is prepared again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import metadcseg
from metadcseg.audit.about import FORMAT, audited_set, read_about
from metadcseg.audit.case_files import read_cases, read_masks
from metadcseg.audit.decisions import Decision, read_decisions
from metadcseg.audit.following import followed
from metadcseg.audit.native import Labels
from metadcseg.audit.originals import Originals
from metadcseg.audit.place import Attempt, Place, new_folder, within
from metadcseg.audit.plain_layout import plain_layout
from metadcseg.audit.plan import Mask, Plan, Reviewed, Reviews, Twins
from metadcseg.audit.provenance import note_corrections
from metadcseg.audit.records import AuditedCase
from metadcseg.audit.review import Outcome, review
from metadcseg.audit.same_layout import folder_of, given_file, same_layout
from metadcseg.audit.stacked_layout import stacked_layout
from metadcseg.audit.units import check_sizes, is_verified
from metadcseg.data.findings import listed, plural
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.data.store.disk import refuse_occupied
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.reading import is_what
from metadcseg.scratch import sweep

Progress = Callable[[int, int], object]
"""Called with how many files are written, of how many."""

_RULES = 5
"""By which decisions become files: raised with every change of them, so that nothing written by others is kept."""


@dataclass(frozen=True)
class Accepted:
    """What was written.

    Args:
        folder: the corrected one.
        cases: how many were audited.
        reviewed: how many are decided as a whole by somebody who looked at them, and so gold now.
        corrected: in how many of these the mask was changed.
        in_part: how many others were changed, which are not verified.
        painted: how many slices the reviewer painted.
        experts: ids of the cases with something that an expert shall decide.
        untouched: how many cases nothing was decided about.
        twins: in how many pairs the mask beside the verified one was corrected, as masks that train were.
        backup: where files that were replaced lie; None of a new folder.
        notes: what is worth knowing.
        limit: how many training cases of the folder the set had, and the seed by which ``prepare --limit`` draws them
            again; None where it had all.
    """

    folder: Path
    cases: int
    reviewed: int
    corrected: int
    in_part: int
    painted: int
    experts: tuple[str, ...]
    untouched: int
    twins: int
    backup: Path | None = None
    notes: tuple[str, ...] = ()
    limit: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def accept(
    decisions: Path,
    out: Path | None = None,
    *,
    data: Path | None = None,
    folder: Path | None = None,
    backup: Path | None = None,
    link: bool = False,
    progress: Progress | None = None,
) -> tuple[Accepted, PreparedSet]:
    """Apply decisions to the masks that they are about, whole or not at all.

    Args:
        decisions: ``decisions.json`` in the folder of the audit.
        out: the corrected folder, missing or empty; None: the folder that the set was prepared from is changed.
        data: the audited set, where it is not where it was.
        folder: where the files that it was made from lie, where that is not where they were.
        backup: of a folder that is changed: where files go before they are replaced; by default beside it.
        link: of a new folder: images are symbolic links, not copies.
        progress: called after every file.

    Returns:
        What was written, and the set that was audited.

    Raises:
        InputError: where decisions, audit, set and files do not belong together, a case is verified already, nothing
            was decided, ``out`` is occupied, or the disk refuses; nothing is written then.
    """
    if out is not None:
        refuse_occupied(out)
    if not decisions.is_file():
        raise InputError(f"{decisions} {is_what(decisions)}: name decisions.json in the folder of the audit")
    prepared = audited_set(decisions.parent, data)
    about = read_about(decisions.parent)
    cases = read_cases(decisions.parent)
    check_sizes(cases, prepared)
    found = read_decisions(
        decisions,
        identity=about["identity"],
        fingerprint=about["set"]["fingerprint"],
        cases=cases,
        classes=len(prepared.classes),
    )
    originals = Originals(prepared, folder)
    root = folder_of(originals)
    attempt = _attempt(decisions, out, root, link)
    if root is not None:
        attempt.refuse_halfway(root, in_place=out is None)
    place = out or root
    anew = place is not None and attempt.discard_others(place)
    begun = out is None and root is not None and attempt.is_begun(root)
    _refuse(decisions, prepared, originals, list(found), begun=begun)
    reviews = {
        case.id: _reviewed(decisions.parent, case, found[case.id], originals)
        for case in cases
        if case.id in found
    }

    def can_hold(id: str) -> bool:
        return root is None or given_file(originals, id) is not None

    twins, behind = followed(decisions.parent, cases, found, reviews, originals, can_hold)
    plan = _layout(originals, root, reviews, {id: twin.mask for id, twin in twins.items()})
    held = {id: each for id, each in reviews.items() if each.outcome.verified or can_hold(id)}
    note_corrections(plan, root, found, held, twins, about["identity"])
    if not any(row.role == "train" for row in plan.rows.values()):
        raise InputError(
            f"{decisions}: all training cases would be verified, and preparing needs one that is not: take one of the "
            "decisions out"
        )
    if out is not None:
        written = new_folder(plan, out, attempt, link=link, progress=progress)
    elif root is not None:
        kept = backup or _usual_backup(decisions, root, attempt, begun=begun)
        written = within(plan, root, kept, attempt, progress)
    else:
        raise InputError(
            f"{prepared.path} was not prepared from a folder with images/ and masks/: write a new one with --out"
        )
    outcomes = {id: each.outcome for id, each in reviews.items()}
    in_part = sum(not each.outcome.verified and each.outcome.changed > 0 for each in held.values())
    plan.left += _of_pairs(prepared, in_part, len(twins), behind)
    if anew:
        plan.left.append(
            "another version had begun this and was stopped: what it had written was removed, and all is written anew"
        )
    return _counted(written, len(cases), plan, outcomes, in_part, len(twins)), prepared


def _attempt(decisions: Path, out: Path | None, root: Path | None, link: bool) -> Attempt:
    """Return by what this call is known again, after it was stopped."""
    said = decisions.read_bytes()
    # A draft beside the folder that is changed says which one that is, also where both were moved meanwhile.
    chosen = "" if out is None else json.dumps([str(root and root.resolve()), link])
    return Attempt(
        said,
        decisions.parent.resolve(),
        _digest(said + chosen.encode()),
        _digest(f"{metadcseg.__version__} {FORMAT} {_RULES}".encode()),
    )


def _layout(originals: Originals, root: Path | None, reviews: Reviews, twins: Twins) -> Plan:
    """Return what the corrected folder holds, laid out like the files that the set was prepared from."""
    if root is not None:
        return same_layout(originals, root, reviews, twins)
    if originals.prepared.volumes and originals.origin is None:
        return stacked_layout(originals.prepared, reviews, twins)
    return plain_layout(originals, reviews, twins)


def _usual_backup(decisions: Path, root: Path, attempt: Attempt, *, begun: bool) -> Path:
    """Return where files of a folder that is changed go before they are replaced."""
    usual = root.with_name(f"{root.name}-before-{attempt.what}")
    if not begun and usual.exists():
        sweep(root.parent)  # of a call that was killed when all was done
        raise InputError(
            f"{decisions} was accepted in place already, and what it replaced lies in {usual}: prepare {root} next"
        )
    return usual


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _of_pairs(prepared: PreparedSet, changed: int, twins: int, behind: int) -> list[str]:
    """Say where masks changed and pairs did not."""
    if twins or not changed or not any(case.has_given for case in prepared.select("gold")):
        return []
    said = f"{plural(changed, 'mask')} changed and {'is' if changed == 1 else 'are'} not verified. "
    if not behind:
        return [said + "Pairs stay as they are, since training masks most like theirs did not change."]
    return [
        said
        + f"The audit has no correction of {plural(behind, 'pair')}, so pairs show the earlier errors, and "
        "training by them would correct twice: take --method supervised --supervised.gold mixed"
    ]


def _reviewed(audit: Path, case: AuditedCase, decision: Decision, originals: Originals) -> Reviewed:
    """Return what becomes of a case."""

    def write(out: Path) -> None:
        masks = read_masks(audit, case)
        mask, _ = review(case, masks, decision)
        originals.write(out, case.id, masks.given, mask, masks.slices)

    def write_class(label: int, out: Path) -> None:
        masks = read_masks(audit, case)
        mask, _ = review(case, masks, decision)
        originals.write_class(out, case.id, label, masks.given, mask, masks.slices)

    def read() -> Labels:
        return review(case, read_masks(audit, case), decision)[0]

    return Reviewed(review(case, read_masks(audit, case), decision)[1], Mask(read, write), write_class)


def _refuse(
    decisions: Path, prepared: PreparedSet, originals: Originals, ids: list[str], *, begun: bool
) -> None:
    """Refuse to begin where nothing can come of it; where files are being moved already, some may be gone."""
    if not ids:
        raise InputError(f"{decisions} holds no decision: review some cases first")
    split = prepared.source.get("split")
    if isinstance(split, dict) and GoldSlices.read(split.get("gold")):
        raise InputError(f"{prepared.path} holds gold volumes in part: audit the set that it was split from")
    if not begun and (missing := originals.missing()) is not None:
        raise InputError(
            f"{missing} is gone, which {prepared.path} was prepared from: say with --folder where its folder is now"
        )
    done = [id for id in ids if is_verified(prepared, originals.unit(id))]
    if done:
        raise InputError(
            f"{decisions}: {listed(done, 3)} {'has' if len(done) == 1 else 'have'} a verified mask already: correct "
            "that file itself, and take the decision out"
        )


def _counted(
    written: Place, cases: int, plan: Plan, reviews: Mapping[str, Outcome], in_part: int, twins: int
) -> Accepted:
    each = reviews.values()
    return Accepted(
        written.folder,
        cases,
        sum(one.verified for one in each),
        sum(one.verified and one.changed > 0 for one in each),
        in_part,
        sum(one.painted for one in each),
        tuple(id for id, one in reviews.items() if one.experts),
        cases - len(reviews),
        twins,
        written.backup,
        tuple(plan.left),
        plan.limit,
    )
