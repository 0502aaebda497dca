"""Volumes in any layout, told by patterns of their paths.

``--image 'train/{case}/Flair*.nii.gz' --image 'train/{case}/T1c*.nii.gz' --label 'train/{case}/label.nii.gz'``: each
``--image`` is a channel. In a pattern

- ``{case}`` names the case, ``{group}`` what must stay together (a patient; the id is then GROUP_CASE). A pattern with
  ``{group}`` alone is shared by all cases of the group: several outlines of one image,
- ``{role}`` is a folder called train or training, val or validation, test or testing, or gold,
- ``*`` is any text without ``/``, where exactly one file fits; what begins with a dot fits where the pattern does.

The pattern of the label may be that of an image where an HDF5 file holds both. ``--truth`` names a reference beside the
label, such as an expert's outline beside that of a crowd, ``--label_confidence`` how far the label is to be trusted.
Without ``{role}``, roles are drawn by seed. A share given as ``--val`` or ``--test`` is drawn from the training cases
where no folder has that role; patients with gold cases stay in training. Gold cases are drawn from the training cases
where a truth is known (they show it) or ``--gold`` asks for them.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metadcseg.data.case_names import one_form
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.dicom_mask import composed
from metadcseg.data.sources.roles import Draw, draw_roles, with_role
from metadcseg.data.splits.roles import ROLE_FOLDERS, assign_roles, with_gold
from metadcseg.errors import InputError, unknown_name
from metadcseg.reading import is_what

_PLACEHOLDER = re.compile(r"\{(\w*)\}|(\*)")
_NAMES = ("role", "group", "case")
_MOST_FILES = 1_000_000


@dataclass(frozen=True)
class Patterns:
    """Where the files of each case lie, relative to the source.

    Args:
        images: one for each channel.
        label: of the label as given.
        truth: of a reference beside it, or None.
        label_confidence: of volumes of trust, or None.

    Raises:
        InputError: where a pattern has no ``{case}``, an unknown placeholder, or leads out of the source.
    """

    images: tuple[str, ...]
    label: str
    truth: str | None = None
    label_confidence: str | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError(
                "patterns need --image 'PATTERN', once for every channel, such as '{case}/t1.nii.gz'"
            )
        for pattern in self.all():
            _compiled(pattern)
            if "{case}" not in pattern and "{group}" not in pattern:
                raise InputError(
                    f"the pattern '{pattern}' must name the case: put {{case}} where its name stands"
                )
        if "{case}" not in self.label:
            raise InputError(f"--label '{self.label}' must name the case: put {{case}} where its name stands")

    def all(self) -> tuple[str, ...]:
        """Return every pattern that is given."""
        return (
            *self.images,
            self.label,
            *(part for part in (self.truth, self.label_confidence) if part is not None),
        )


def scan_patterns(
    source: Path,
    patterns: Patterns,
    draw: Draw | None = None,
    *,
    image_key: str | None = None,
    label_key: str | None = None,
) -> Scan:
    """Find the cases, without decoding a voxel.

    Args:
        source: the folder.
        patterns: of the files.
        draw: how roles are drawn where no pattern names them; gold is drawn either way.
        image_key: of the image in HDF5 files.
        label_key: of the label in HDF5 files.

    Returns:
        The volumes and everything that is wrong so far.

    Raises:
        InputError: where no file fits the first pattern, or a role is unknown.
    """
    draw = draw or Draw()
    if not source.is_dir():
        raise InputError(f"{source} {is_what(source)}: --source is the folder that the patterns begin in")
    files = _files(source)
    findings: list[Finding] = []
    found = {pattern: _matches(source, pattern, files, findings) for pattern in dict.fromkeys(patterns.all())}
    first = patterns.images[0]
    for pattern in (first, patterns.label):
        if not found[pattern]:
            raise InputError(f"{source}: no file fits the pattern '{pattern}': look at names and folders")
    volumes = []
    keys = list(dict.fromkeys(key for pattern in (first, patterns.label) for key in found[pattern] if key[2]))
    names, again = _named(keys)
    findings += again
    for key in keys:

        def file(pattern: str, key: Key = key) -> Path | None:
            return found[pattern].get(key) or found[pattern].get((*key[:2], ""))

        lacking = [
            pattern
            for pattern in patterns.all()
            if file(pattern) is None and pattern != patterns.label_confidence
        ]
        if lacking:
            findings.append(_lacking(source, names[key], lacking[0], lacking[0] in patterns.images))
            continue
        label, truth = file(patterns.label), file(patterns.truth) if patterns.truth else None
        volumes.append(
            RawCase(
                id=names[key],
                role=key[0],
                group=key[1] or names[key],
                images=tuple(path for pattern in patterns.images if (path := file(pattern))),
                label=None if label is None else composed(label),
                image_key=image_key,
                label_key=label_key,
                truth=None if truth is None else composed(truth),
                truth_key=label_key if patterns.truth else None,
                label_confidence=file(patterns.label_confidence) if patterns.label_confidence else None,
            )
        )
    findings += _across(volumes)
    roles = {raw.id: raw.role for raw in volumes}
    if volumes and not any(finding.severity == "error" for finding in findings):
        roles = _roles(roles, {raw.id: raw.group for raw in volumes}, draw, patterns.truth is not None)
    made = sorted((with_role(raw, roles[raw.id]) for raw in volumes), key=lambda raw: raw.id)
    facts = {
        "source": "patterns",
        "folder": source.resolve().name,
        "patterns": list(patterns.all()),
        **draw.facts(),
    }
    return Scan(tuple(made), tuple(findings), facts)


def _roles(roles: dict[str, str], groups: dict[str, str], draw: Draw, known: bool) -> dict[str, str]:
    if not any(roles.values()):
        return draw_roles(groups, draw, val=0.1, test=0.1, gold=0.02 if known else None)
    named = set(roles.values())
    for role, asked in (("val", draw.val), ("test", draw.test), ("gold", draw.gold)):
        if asked and role in named:
            raise InputError(
                f"--{role} draws cases where no folder is called {role}, and one is: leave --{role} out"
            )
    beside_gold = {groups[name] for name, held in roles.items() if held == "gold"}
    for role, share in (("val", draw.val), ("test", draw.test)):
        if share:  # asked for, beside roles that the folders name
            free = {
                name: groups[name]
                for name, held in roles.items()
                if held == "train" and groups[name] not in beside_gold
            }
            drawn = assign_roles(free, seed=draw.seed, val=share, test=0.0)
            roles |= {name: role for name, held in drawn.items() if held == "val"}
    if "gold" not in roles.values() and (known or draw.gold is not None):
        roles = with_gold(roles, 0.02 if draw.gold is None else draw.gold, draw.seed)
    return roles


Key = tuple[str, str, str]
"""Role (empty where none is named), group (likewise), case."""


def _named(keys: Sequence[Key]) -> tuple[dict[Key, str], list[Finding]]:
    """Return the ids of cases, with the role in front where another role has the name as well, and a note of that.

    A name of gold and of training is none of them: what is verified stands beside itself, and is refused.
    """
    roles: dict[str, set[str]] = {}
    for key in keys:
        roles.setdefault(_id(key), set()).add(key[0])
    again = [name for name, held in roles.items() if len(held) > 1 and "gold" not in held]
    among = set(again)
    names = {key: f"{key[0]}_{_id(key)}" if _id(key) in among else _id(key) for key in keys}
    if not again:
        return names, []
    called = " and ".join(f"{role}_{again[0]}" for role in sorted(roles[again[0]]))
    sentence = (
        f"{plural(len(again), 'name')} ({listed(again, 3)}) in folders of several roles, taken for different cases, "
        f"{called}: where they are the same patients, training leaks into evaluation"
    )
    return names, [Finding("warning", "case-renamed", again[0], sentence)]


def _files(source: Path) -> list[str]:
    """Return the paths of all files below a folder, with slashes; links to folders are not followed."""
    files: list[str] = []
    for folder, folders, names in os.walk(source):
        folders.sort()
        relative = PurePosixPath(Path(folder).relative_to(source).as_posix())
        files += [str(relative / name) for name in sorted(names)]
        # a series of DICOM slices is a folder
        files += [str(relative / name) for name in folders]
        if len(files) > _MOST_FILES:
            raise InputError(f"{source} holds more than {_MOST_FILES} files: name a folder further inside")
    return files


def _matches(source: Path, pattern: str, files: Sequence[str], findings: list[Finding]) -> dict[Key, Path]:
    compiled = _compiled(pattern)
    found: dict[Key, Path] = {}
    for file in files:
        match = compiled.fullmatch(one_form(file))
        if match is None:
            continue
        parts = match.groupdict()
        role = parts.get("role") or ""
        if role and role.lower() not in ROLE_FOLDERS:
            raise unknown_name(f"role in {source / file}", role, ROLE_FOLDERS)
        key = (ROLE_FOLDERS.get(role.lower(), ""), parts.get("group") or "", parts.get("case") or "")
        if key in found:
            sentence = (
                f"{source / file} and {found[key]} both fit '{pattern}' for the case '{_id(key)}': make the pattern "
                "narrower"
            )
            findings.append(Finding("error", "case-twice", str(source / file), sentence))
        found.setdefault(key, source / file)
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or "\\" in pattern:
        raise InputError(f"the pattern '{pattern}' must lead from --source downwards, with / between folders")
    text, end, seen = "", 0, set()
    pattern = str(path)
    for found in _PLACEHOLDER.finditer(pattern):
        text += re.escape(pattern[end : found.start()])
        if found.start() == 0 or pattern[found.start() - 1] == "/":
            text += r"(?!\.)"  # hidden files, such as ._NAME in archives of macOS, fit where the pattern has the dot
        end = found.end()
        name = found[1]
        if found[2]:
            text += "[^/]*"
        elif name not in _NAMES:
            raise unknown_name(
                f"placeholder in '{pattern}'", f"{{{name}}}", [f"{{{known}}}" for known in _NAMES]
            )
        else:
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            seen.add(name)
    return re.compile(one_form(text + re.escape(pattern[end:])))


def _lacking(source: Path, case: str, pattern: str, image: bool) -> Finding:
    if image:
        sentence = (
            f"{source}: '{case}' has a label and no image that fits '{pattern}', and is left out: complete it"
        )
        return Finding("warning", "mask-extra", case, sentence)
    sentence = f"{source}: case '{case}' has no file that fits '{pattern}': complete it or remove the case"
    return Finding("error", "mask-missing", case, sentence)


def _across(volumes: Sequence[RawCase]) -> list[Finding]:
    first: dict[str, RawCase] = {}
    findings = []
    for raw in volumes:
        before = first.setdefault(raw.id, raw)
        if before is not raw:
            sentence = (
                f"{raw.where} and {before.where} are both called '{raw.id}': give each case its own name"
            )
            findings.append(Finding("error", "case-twice", raw.where, sentence))
    return findings


def _id(key: Key) -> str:
    return "_".join(part for part in key[1:] if part)
