"""What is wrong with cases taken together: the same image twice, groups split across roles, gold or a role missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from metadcseg.data.findings import Finding, plural
from metadcseg.data.prepare.ways_out import LEAST_GOLD, OF_FOLDERS, WaysOut
from metadcseg.data.splits.roles import across_roles, split_groups
from metadcseg.data.store.reader import ROLES


def set_findings(cases: Sequence[tuple[str, str, str]], ways: WaysOut = OF_FOLDERS) -> list[Finding]:
    """Find what is wrong with the roles of a whole set: groups split, gold missing or tiny, roles empty.

    Args:
        cases: (id, role, group).
        ways: what to do, by the kind of source.
    """
    if not cases:
        return []  # said already: there are no images or no masks
    findings = []
    roles = {case: role for case, role, _ in cases}
    for group, (first, second) in split_groups(cases).items():
        sentence = across_roles(group, (first, roles[first]), (second, roles[second]))
        findings.append(Finding("error", "group-split", group, sentence))
    counts = Counter(roles.values())
    meaning = {
        "train": ("error", "there is nothing to train on"),
        "val": ("warning", "the best epoch cannot be chosen"),
        "test": ("warning", "the network cannot be evaluated"),
    }
    for role, (severity, consequence) in meaning.items():
        if not counts[role]:
            sentence = f"no case has the role {role}, {consequence}: {ways.role}"
            findings.append(Finding(severity, f"no-{role}", role, sentence))  # type: ignore[arg-type]
    return findings + _gold_findings(counts, ways)


def duplicates(images: Iterable[tuple[str, str, str]], ways: WaysOut = OF_FOLDERS) -> list[Finding]:
    """Find images of the same content: an error on both sides of training and evaluation, else a warning.

    Args:
        images: (file or case, role, digest of the decoded content).
        ways: what to do, by the kind of source.
    """
    holders = defaultdict(list)
    for where, role, digest in images:
        holders[digest].append((where, role))
    findings = []
    for (first, role), *others in holders.values():
        for where, other in others:
            same = f"{where} shows the same image as {first}"
            if other == role or {other, role} == {"train", "gold"}:
                both = f"both {role}" if other == role else f"{other} and {role}"
                sentence = (
                    f"{same} ({both}): it counts twice, remove one of the two unless both outlines are wanted"
                )
                findings.append(Finding("warning", "duplicate", where, sentence))
            else:
                roles = f"in role {other} and in role {role}"
                sentence = f"{same}, {roles}: {ways.group}"
                findings.append(Finding("error", "duplicate-across-roles", where, sentence))
    return findings


def _gold_findings(counts: Mapping[str, int], ways: WaysOut) -> list[Finding]:
    number = counts.get("gold", 0)
    if number >= LEAST_GOLD:
        return []
    if number == 0:
        sentence = (
            "no mask is verified, so methods that learn from gold (such as metadcseg) cannot be trained"
        )
    else:
        sentence = (
            f"only {plural(number, 'case')} of role gold, on which all that is learned about bad pixels hangs"
        )
    return [
        Finding("warning", "gold-tiny" if number else "gold-missing", ROLES[1], f"{sentence}: {ways.gold}")
    ]
