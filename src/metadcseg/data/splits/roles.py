"""Who is in which role: held out by group and by seed, or read from ``splits.csv``."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from metadcseg.data.case_names import Meant, case_called
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.store.reader import ROLES
from metadcseg.data.tables import read_table
from metadcseg.errors import InputError, unknown_name

ROLE_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "gold": "gold",
}
"""What people call the folder of a role, in lower case -> the role."""


@dataclass(frozen=True)
class SplitRow:
    """What ``splits.csv`` says about one case; None where it says nothing.

    Args:
        role: one of ``train``, ``gold``, ``val``, ``test``.
        group: what must stay together, such as a patient.
    """

    role: str | None
    group: str | None


def assign_roles(
    groups: Mapping[str, str], *, seed: int = 0, val: float = 0.1, test: float = 0.1
) -> dict[str, str]:
    """Hold out validation and test cases, whole groups at a time.

    The order of the groups is a hash of seed and name, so the result depends neither on the order of the
    cases nor on the machine, and one more case moves few others.

    Args:
        groups: id of every case -> its group.
        seed: another seed, another split.
        val: share of the cases for validation, 0 to below 1.
        test: share of the cases for the test, 0 to below 1.

    Returns:
        id -> ``train``, ``val`` or ``test``. A role is as near to its share as whole groups allow, and never
        empty where its share is positive.

    Raises:
        InputError: where the shares leave nothing to train on, or there are too few groups.

    Example:
        >>> roles = assign_roles({str(number): str(number) for number in range(20)}, seed=1)
        >>> sorted(roles.values()).count("train"), len(roles)
        (16, 20)
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(
            f"val and test are shares that leave training cases, got {val:g} and {test:g}: lower them"
        )
    members = defaultdict(list)
    for case, group in groups.items():
        members[group].append(case)
    waiting = seeded_order(members, seed, "split")
    needed = 1 + (val > 0) + (test > 0)
    if groups and len(waiting) < needed:
        raise InputError(
            f"{plural(len(waiting), 'group')} cannot be split into training, validation and test: at least {needed} "
            "are needed, name roles in splits.csv or set the shares to 0"
        )
    roles: dict[str, str] = {}
    for role, share in (("test", test), ("val", val)):
        chosen = _choose({group: len(members[group]) for group in waiting}, share * len(groups))
        waiting = [group for group in waiting if group not in chosen]
        roles |= {case: role for group in chosen for case in members[group]}
    if groups and not waiting:
        raise InputError(
            f"{len(members)} groups of such different sizes leave no training case: name roles in splits.csv"
        )
    return {case: roles.get(case, "train") for case in groups}


def draw_gold(ids: Collection[str], gold: float | int, *, seed: int = 0) -> set[str]:
    """Draw the cases whose masks count as verified, from training cases with expert masks.

    Args:
        ids: the training cases.
        gold: a share (float below 1; at least one case) or a number of cases (int).
        seed: another seed, another draw. A larger number contains the smaller one's cases.

    Raises:
        InputError: where fewer than one training case would be left, or ``gold`` is negative.

    Example:
        >>> len(draw_gold([str(number) for number in range(300)], 0.02)), len(draw_gold(["a", "b"], 1))
        (6, 1)
    """
    is_share = isinstance(gold, float) and 0 <= gold < 1
    count = max(1, round(gold * len(ids))) if is_share else gold
    if is_share and len(ids) == 1:
        raise InputError(
            "one case is left to train on, and gold takes at least one: hold out less with --val and --test, or pass "
            "--gold 0"
        )
    if not (is_share or isinstance(gold, int)) or not 0 <= count < max(len(ids), 1):
        raise InputError(
            f"gold is a share below 1 or a number below the {len(ids)} training cases, got {gold:g}: "
            "choose another"
        )
    return set(seeded_order(ids, seed, "gold")[: int(count)])


def with_gold(roles: Mapping[str, str], gold: float | int | Collection[str], seed: int) -> dict[str, str]:
    """Return roles in which some training cases are gold.

    Args:
        roles: id -> role.
        gold: a share, a number (see :func:`draw_gold`), or ids (or names of their files), of
            which those in other roles keep theirs.
        seed: of the draw.

    Raises:
        InputError: where an id is unknown, none is a training case, or no training case would be left.
    """
    training = [name for name, role in roles.items() if role == "train"]
    if isinstance(gold, (int, float)):
        named = draw_gold(training, gold, seed=seed)
    else:
        known = {name: case_called(name, roles) for name in gold}
        for name, case in known.items():
            if case is None:
                raise unknown_name("gold case", name, roles)
        named = {case for case in known.values() if case is not None} & set(training)
        if not named:
            raise InputError(
                "none of the gold cases named is among the training cases of this split: name more of them"
            )
        if len(named) == len(training):
            raise InputError("every training case is named as gold: leave some to learn from")
    return {name: "gold" if name in named else role for name, role in roles.items()}


def limit_training(roles: Mapping[str, str], limit: int | None, *, seed: int = 0) -> dict[str, str]:
    """Keep so many cases of the role ``train``, drawn by seed, and all cases of other roles.

    Args:
        roles: id -> role.
        limit: how many training cases to keep; None keeps all.
        seed: another seed, other cases.

    Raises:
        InputError: where the limit is below 1.
    """
    if limit is None:
        return dict(roles)
    if limit < 1:
        raise InputError(f"limit is a number of training cases of at least 1, got {limit}: choose another")
    training = [case for case, role in roles.items() if role == "train"]
    kept = set(seeded_order(training, seed, "limit")[:limit])
    return {case: role for case, role in roles.items() if role != "train" or case in kept}


def seeded_order(names: Iterable[str], seed: int, purpose: str) -> list[str]:
    """Return names in an order that looks random and follows from seed, purpose and the names alone."""
    return sorted(names, key=lambda name: _digest(f"{purpose}/{seed}/{name}"))


def _digest(text: str) -> bytes:
    """Return a hash of any text, also of a file name that is not valid UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def read_splits(path: Path, ids: Collection[str]) -> tuple[dict[str, SplitRow], list[Finding]]:
    """Read ``splits.csv``: columns ``id``, ``role`` and ``group``; ``role`` or ``group`` may be left out.

    Args:
        path: the file; separated by comma or semicolon.
        ids: the cases that exist; a file name with suffix is taken for its stem.

    Returns:
        id -> what is said about it, and an error with its line number for everything that is wrong: an
        unknown role or id, an id given twice, a group across roles, a case that is not listed.
    """
    try:
        header, table = read_table(path)
    except InputError as error:
        return {}, [_error(path, str(error))]
    if "id" not in header or not {"role", "group"} & set(header):
        got = ", ".join(header) or "nothing"
        return {}, [
            _error(path, f"{path}: the first line names the columns id,role,group, got '{got}': add it")
        ]
    rows: dict[str, SplitRow] = {}
    lines_of: dict[str, int] = {}
    findings = []
    meant = Meant(ids)
    for number, entry in table:
        case = case_called(entry.get("id", ""), ids)
        role = entry.get("role") if "role" in header else None
        problem = _row_problem(case, entry.get("id", ""), role, "role" in header, meant, lines_of)
        if problem:
            findings.append(_error(path, f"{path}, line {number}: {problem}"))
        if case is not None and case not in lines_of:
            lines_of[case] = number
            rows[case] = SplitRow(role if role in ROLES else None, entry.get("group") or None)
    missing = sorted(case for case in ids if case not in rows)
    if missing:
        named = listed(missing, 3)
        findings.append(
            _error(path, f"{path} does not list {len(missing)} of {len(ids)} cases ({named}): add them")
        )
    split = split_groups((case, row.role, row.group) for case, row in rows.items() if row.role and row.group)
    for group, (first, second) in split.items():
        sentence = across_roles(group, (first, rows[first].role), (second, rows[second].role))
        findings.append(_error(path, f"{path}, line {lines_of[second]}: {sentence}", "group-split"))
    return rows, findings


def split_groups(cases: Iterable[tuple[str, str | None, str | None]]) -> dict[str, tuple[str, str]]:
    """Find groups that are split across roles: patient A must not be trained on and tested on.

    Args:
        cases: (id, role, group). Gold cases are training cases whose mask is verified, so a group may
            hold cases of both roles.

    Returns:
        group -> the first id, and the first id that has another role.

    Example:
        >>> split_groups([("a1", "train", "A"), ("a2", "gold", "A"), ("a3", "test", "A")])
        {'A': ('a1', 'a3')}
    """
    first: dict[str, tuple[str, str]] = {}
    split = {}
    for case, role, group in cases:
        side = "train" if role == "gold" else str(role)
        before, known = first.setdefault(str(group), (case, side))
        if known != side and str(group) not in split:
            split[str(group)] = (before, case)
    return split


def across_roles(group: str, first: tuple[str, str | None], second: tuple[str, str | None]) -> str:
    """Return the sentence about a group with cases, (id, role), in two roles."""
    return (
        f"group '{group}' is in role {first[1]} ({first[0]}) and in role {second[1]} ({second[0]}), "
        "which leaks from training into evaluation: give all its cases one role"
    )


def _row_problem(
    case: str | None,
    name: str,
    role: str | None,
    has_roles: bool,
    meant: Meant,
    seen: Mapping[str, int],
) -> str | None:
    """Return what is wrong with one row, None where nothing is."""
    if case is None:
        hint = meant.hint(name, "take the image's file name without suffix")
        return f"there is no case '{name}': {hint}"
    if case in seen:
        return f"case '{case}' stands in line {seen[case]} already: remove one of the two"
    if has_roles and role not in ROLES:
        return str(unknown_name("role", role or "", ROLES))
    return None


def _choose(sizes: Mapping[str, int], target: float) -> set[str]:
    """Choose groups in their order so that their cases come as near to a target as the order allows."""
    if target <= 0 or not sizes:
        return set()
    chosen: set[str] = set()
    count = 0
    for group, size in sizes.items():
        if abs(count + size - target) < abs(count - target):
            chosen.add(group)
            count += size
    return chosen or {min(sizes, key=lambda group: sizes[group])}


def _error(path: Path, sentence: str, code: str = "splits") -> Finding:
    return Finding("error", code, str(path), sentence)
