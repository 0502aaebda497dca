"""Carry out a plan: all of it or nothing, beside the target until everything is there."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from metadcseg.audit.plan import CORRECTIONS, GOLD, SPLITS, Plan, Write
from metadcseg.data.store.disk import DiskErrors, publish_folder, refuse_occupied
from metadcseg.errors import InputError
from metadcseg.files import refuse_link
from metadcseg.scratch import remove_folder, scratch_folder, sweep

_READY = "ready"
"""In the draft of a folder that is changed: from here on, files are only moved."""

_DECISIONS = "decisions.json"
"""Likewise: what was decided, so that it can be ended after other decisions took its place."""

_AUDIT = "audit.txt"
"""Likewise: the folder of the audit that this is about, in which alone these decisions can be accepted."""


@dataclass(frozen=True)
class Place:
    """Where a plan was carried out.

    Args:
        folder: that holds the result.
        backup: of files that were replaced.
    """

    folder: Path
    backup: Path | None = None


Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Attempt:
    """Names what is carried out: a call that was stopped goes on, and takes over nothing of another one.

    Args:
        decisions: what was decided, as it is written.
        audit: the folder of the audit that it is about.
        what: digest of that and of all else that the caller chose.
        rules: digest of the version that makes files of it.
    """

    decisions: bytes
    audit: Path
    what: str
    rules: str

    def draft(self, place: Path) -> Path:
        """Return where files of this attempt are written first."""
        return place.with_name(f"{self._begins(place)}-{self.rules}")

    def is_begun(self, root: Path) -> bool:
        """Return whether files are being moved into a folder by a call that was stopped (`within`)."""
        return (self.draft(root) / _READY).exists()

    def refuse_halfway(self, root: Path, *, in_place: bool) -> None:
        """Refuse a folder that a call which was stopped has changed in part, unless this one brings that to its end.

        Args:
            root: the folder.
            in_place: whether this call changes the folder.

        Raises:
            InputError: with what ends it.
        """
        begun = sorted(root.parent.glob(f"{escape(hidden_name(root))}.accept-*/{_READY}"))
        for draft in (ready.parent for ready in begun):
            if in_place and draft == self.draft(root):
                continue
            said, audit = draft / _DECISIONS, draft / _AUDIT
            if not (draft.name.endswith(f"-{self.rules}") and said.exists() and audit.exists()):
                raise InputError(
                    f"{root} was being changed by another version of metadcseg when that was stopped: end it with "
                    f"that version; or copy all in {draft / 'backup'} over {root}, remove {draft} and the masks in "
                    f"{GOLD}/, {SPLITS} and {CORRECTIONS} that it added, and accept again"
                )
            others, copied, what = "", "", "these decisions"
            if said.read_bytes() != self.decisions:
                stopped = Path(os.fsdecode(audit.read_bytes())) / "stopped.json"
                others, what = " by other decisions", "that file"
                copied = f"copy {said} to {stopped}, in the folder of its audit, and "
            raise InputError(
                f"{root} was being changed{others} when that was stopped, and is half corrected: {copied}accept {what} "
                "--in-place first"
            )

    def discard_others(self, place: Path) -> bool:
        """Remove what another version has begun of the same; return whether there was something.

        Where it was moving files already, `refuse_halfway` comes first.

        Args:
            place: the folder that is written or changed.
        """
        begins, own = self._begins(place), self.draft(place)
        beside = list(place.parent.iterdir()) if place.parent.is_dir() else []
        others = [
            path
            for path in beside
            if path != own and (path.name == begins or path.name.startswith(f"{begins}-"))
        ]
        for draft in others:
            remove_folder(draft)
        return bool(others)

    def _begins(self, place: Path) -> str:
        return f"{hidden_name(place)}.accept-{self.what}"


def new_folder(
    plan: Plan, out: Path, attempt: Attempt, *, link: bool = False, progress: Progress | None = None
) -> Place:
    """Write a new folder; what an earlier, stopped call of the same attempt has written is taken over.

    Args:
        plan: what it holds.
        out: missing or empty.
        attempt: which it is.
        link: images are symbolic links.
        progress: called after every file.

    Raises:
        InputError: where it is occupied, the disk refuses, or a mask cannot be written; nothing is left then. Only a
            process that is stopped leaves its hidden draft.
    """
    draft = attempt.draft(out)
    try:
        with DiskErrors(out):
            refuse_link(draft)
            draft.mkdir(parents=True, exist_ok=True)
            total = len(plan.copies) + len(plan.writes)
            for done, (place, source) in enumerate(plan.copies.items(), start=1):
                _copy(source, draft / place, link=link and place in plan.links)
                _report(progress, done, total)
            for done, (place, write) in enumerate(plan.writes.items(), start=len(plan.copies) + 1):
                _write(draft / place, write)
                _report(progress, done, total)
            publish_folder(draft, out)
    except InputError:
        remove_folder(draft)
        raise
    return Place(out)


def within(plan: Plan, root: Path, backup: Path, attempt: Attempt, progress: Progress | None = None) -> Place:
    """Change a folder: new files beside it, then a backup of those that they replace, then each takes its place.

    Stopped before the last step, nothing has changed; stopped in it or in the backup, the same call brings it to its
    end.

    Args:
        plan: what becomes of the folder; what would be taken over stays.
        root: the folder.
        backup: missing or empty; gets the files that are replaced or removed, in the same places.
        attempt: which it is.
        progress: called after every file.

    Raises:
        InputError: where the backup is occupied, the disk refuses, or a mask cannot be written; nothing has changed
            then.
    """
    draft = attempt.draft(root)
    new, ready = draft / "new", draft / _READY
    with DiskErrors(root):
        refuse_link(draft)
        sweep(draft.parent)
        if not ready.exists():
            try:
                refuse_occupied(backup)
                for done, (place, write) in enumerate(plan.writes.items(), start=1):
                    _write(new / place, write)
                    _report(progress, done, len(plan.writes))
                old = [place for place in (*plan.writes, *plan.removes) if (root / place).exists()]
                kept = draft / "backup"
                kept.mkdir(exist_ok=True)
                for place in old:
                    _copy(root / place, kept / place)
                _write(draft / _DECISIONS, lambda out: out.write_bytes(attempt.decisions))
                _write(draft / _AUDIT, lambda out: out.write_bytes(os.fsencode(attempt.audit)))
                _write(ready, lambda out: out.write_bytes(b""))
            except InputError:
                remove_folder(draft)
                raise
        if backup.is_dir() and not any(backup.iterdir()):
            backup.rmdir()
        _copy(draft / "backup", backup)
        for place in plan.writes:
            if (new / place).exists():
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                os.replace(new / place, root / place)
        for place in plan.removes:
            (root / place).unlink(missing_ok=True)
        with scratch_folder(
            draft.parent
        ) as scratch:  # gone as a whole: a part of it would look like a begun one
            os.replace(draft, scratch / "done")
    return Place(root, backup)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _copy(source: Path, target: Path, *, link: bool = False) -> None:
    """Take over a file or folder that is not there yet."""
    if target.exists():
        sweep(target.parent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
        return
    with scratch_folder(target.parent) as scratch:
        copied = scratch / "copy"
        if source.is_dir():
            shutil.copytree(source, copied)
        else:
            shutil.copy2(source, copied)
        os.replace(copied, target)


def _write(target: Path, write: Write) -> None:
    """Write a file that is not there yet."""
    if target.exists():
        sweep(target.parent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(target.parent) as scratch:
        written = scratch / target.name  # the suffix says the format
        write(written)
        os.replace(written, target)


def hidden_name(path: Path) -> str:
    """Return a name for a draft that lies beside its place: that of the place with a dot, cut where it is long.

    Example:
        >>> hidden_name(Path("masks/a.png")), len(hidden_name(Path("a" * 250 + ".png")))
        ('.a.png', 110)
    """
    name = path.name
    if len(os.fsencode(name)) > 100:
        kept = os.fsencode(name)[:100].decode(errors="ignore")
        name = f"{kept}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f".{name}"
