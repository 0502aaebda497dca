"""Can these masks be meant so? What pixel counts alone say: exchanged black and white, no background, odd sizes.

A file can be read without any fault and mean the opposite. All that is judged here are counts per class, of a whole
mask and of the rim of the image, so nothing is decoded again. An error can be overruled: a remap that says what 0 means
(``--remap 0:0,255:1``) settles it.
"""

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from metadcseg.data.findings import Finding, plural
from metadcseg.data.prepare.by_role import BORDER, HALF, MaskCounts, classes_by_role
from metadcseg.data.prepare.labels import typed_remap
from metadcseg.data.prepare.ways_out import OF_FOLDERS, WaysOut

TIMES = 20.0
"""A mask whose foreground is so many times as large, or as small, as the median is odd ..."""

SPREADS = 6.0
"""... where this is also so many spreads (1.48 median deviations, of the logarithm) away."""

LEAST_SPREAD = 0.3
LEAST_MASKS = 8
"""Of fewer masks nobody can say what is usual."""


def plausibility(
    masks: Sequence[MaskCounts],
    values: Sequence[int],
    remap: Mapping[int, int],
    names: Sequence[str] = (),
    beside: Sequence[MaskCounts] = (),
    ways: WaysOut = OF_FOLDERS,
) -> list[Finding]:
    """Find masks that can hardly be meant as they are read.

    Args:
        masks: of every case the best that it has; those without any known pixel do not count.
        values: of every class, the value that files have for it, for advice that can be typed.
        remap: what the user has said; where it names 0, or the value of the background, the meaning is settled.
        names: of the classes; by default their numbers.
        beside: the other masks of the cases, such as those that were replaced: only whether they are inverted.
        ways: what to do about classes that a role lacks, by the kind of source.

    Example:
        >>> masks = [MaskCounts(f"{n}.png", "train", (10, 90), (0, 36)) for n in range(9)]
        >>> print(plausibility(masks, values=(0, 255), remap={})[0].sentence)  # doctest: +ELLIPSIS
        9 of 9 masks, such as 0.png, are foreground on 90 % of their pixels and around the border: ...
    """
    known = [mask for mask in masks if sum(mask.pixels)]
    settled = 0 in remap or values[0] in remap
    others = [mask for mask in beside if sum(mask.pixels)]
    findings = [] if settled or not known else _background([*known, *others], values, remap)
    if not findings:
        findings += _full(known) + _odd_sizes(known)
    return findings + _classes_by_role(known, names, ways)


def _background(
    masks: Sequence[MaskCounts], values: Sequence[int], remap: Mapping[int, int]
) -> list[Finding]:
    if not any(mask.pixels[0] for mask in masks):
        used = sorted({label for mask in masks for label, count in enumerate(mask.pixels) if count})
        advice = typed_remap({**remap, **{values[label]: new for new, label in enumerate(used)}})
        if len(used) < 2:
            right = typed_remap({**remap, values[0]: 0, values[used[0]]: used[0]})
            sentence = (
                f"no pixel of {_all(masks)} is background, {values[used[0]]} fills all: draw what is background, "
                f"or pass {right} if that is right"
            )
            return [Finding("error", "no-background", masks[0].where, sentence)]
        sentence = (
            f"no pixel of {_all(masks)} is background (0): classes seem to count from {values[used[0]]}: pass "
            f"{advice}, or {typed_remap({**remap, 0: 0})} if there is no background"
        )
        return [Finding("error", "no-background", masks[0].where, sentence)]
    turned = [mask for mask in masks if mask.inside_out]
    if not turned or len(values) != 2:
        return _turned_classes(turned, masks)
    other = {0: 1, 1: 0}
    turned_round = {value: other.get(label, label) for value, label in remap.items()}
    exchange = typed_remap({**turned_round, values[0]: 1, values[1]: 0})
    keep = typed_remap({**remap, values[0]: 0, values[1]: 1})
    others = [mask for mask in masks if not mask.inside_out and mask.share > 0]
    if len(turned) >= BORDER * len(masks):
        sentence = (
            f"{_some(turned, masks)}, are foreground on {_percent(turned)} of their pixels and around the border: if "
            f"foreground and background are exchanged, pass {exchange}; if they are right, pass {keep}"
        )
        return [Finding("error", "masks-inverted", turned[0].where, sentence)]
    if others and median(mask.share for mask in others) < HALF:
        usual = _percent(others)
        return [
            Finding(
                "error",
                "mask-inverted",
                mask.where,
                f"{mask.where} is foreground on {mask.share:.0%} of its pixels and around the border, the others on "
                f"{usual}: if it is inverted, exchange its foreground and background; if it is right, pass {keep}",
            )
            for mask in turned
        ]
    return []


def _turned_classes(turned: Sequence[MaskCounts], masks: Sequence[MaskCounts]) -> list[Finding]:
    """Warn of masks of several classes that leave out something in the middle only."""
    if not turned or len(turned) < BORDER * len(masks):
        return []
    sentence = (
        f"{_some(turned, masks)}, are foreground on {_percent(turned)} of their pixels and around the border: if a "
        "class is the background, give it the number 0 with --remap"
    )
    return [Finding("warning", "masks-inverted", turned[0].where, sentence)]


def _full(masks: Sequence[MaskCounts]) -> list[Finding]:
    findings = []
    full = [mask for mask in masks if not mask.pixels[0]]
    if full:
        sentence = (
            f"{_some(full, masks)}, {_verb(full)} foreground in every pixel: draw {_them(full)}, or leave "
            f"{_them(full)} out"
        )
        findings.append(Finding("warning", "mask-full", full[0].where, sentence))
    large = [mask for mask in masks if mask.share > HALF]
    if len(large) == len(masks) > len(full) and len(masks) >= LEAST_MASKS:
        sentence = (
            f"foreground is more than half of the pixels in all {plural(len(masks), 'mask')} ({_percent(masks)}): "
            "look whether foreground and background are exchanged"
        )
        findings.append(Finding("warning", "foreground-large", masks[0].where, sentence))
    return findings


def _odd_sizes(masks: Sequence[MaskCounts]) -> list[Finding]:
    drawn = [mask for mask in masks if mask.share > 0]
    if len(drawn) < LEAST_MASKS:
        return []
    logs = np.log([mask.share for mask in drawn])
    away = np.abs(logs - np.median(logs))
    spread = max(1.4826 * float(np.median(away)), LEAST_SPREAD)
    odd = [mask for mask, far in zip(drawn, away, strict=True) if far > max(np.log(TIMES), SPREADS * spread)]
    if not odd:
        return []
    named = ", ".join(f"{mask.where} ({mask.share:.2%})" for mask in odd[:3])
    sentence = (
        f"{len(odd)} of {plural(len(drawn), 'mask')} {_verb(odd)} of a size unlike the others, whose median is "
        f"{np.exp(np.median(logs)):.2%} of the pixels: look at {named}"
    )
    return [Finding("warning", "mask-odd-size", odd[0].where, sentence)]


def _classes_by_role(masks: Sequence[MaskCounts], names: Sequence[str], ways: WaysOut) -> list[Finding]:
    """Warn of classes that nobody is trained on, and of those that only training has."""
    findings = []
    held = classes_by_role(masks)
    roles = {mask.role for mask in masks}
    for label in range(1, max((len(mask.pixels) for mask in masks), default=0)):
        name = names[label] if label < len(names) else f"class {label}"
        counts = {role: held[role][label] for role in roles}
        if not any(counts.values()):
            continue  # declared, and in no mask at all
        if not (counts.get("train", 0) or counts.get("gold", 0)):
            where = ", ".join(f"{number} {role}" for role, number in sorted(counts.items()) if number)
            sentence = f"{name} is in no mask that is trained on, only in {where}: {ways.move}"
            findings.append(Finding("warning", "class-untrained", name, sentence))
        lacking = [role for role in ("val", "test") if role in roles and not counts[role]]
        if lacking and (counts.get("train", 0) or counts.get("gold", 0)):
            sentence = (
                f"{name} is in no mask of role {' or '.join(lacking)}, so nothing is known of how well it is found: "
                f"{ways.move}"
            )
            findings.append(Finding("warning", "class-unjudged", name, sentence))
    return findings


def _all(masks: Sequence[MaskCounts]) -> str:
    return "the only mask" if len(masks) == 1 else f"any of {len(masks)} masks"


def _some(chosen: Sequence[MaskCounts], masks: Sequence[MaskCounts]) -> str:
    return f"{len(chosen)} of {plural(len(masks), 'mask')}, such as {chosen[0].where}"


def _verb(chosen: Sequence[MaskCounts]) -> str:
    return "is" if len(chosen) == 1 else "are"


def _them(chosen: Sequence[MaskCounts]) -> str:
    return "it" if len(chosen) == 1 else "them"


def _percent(masks: Sequence[MaskCounts]) -> str:
    return f"{median(mask.share for mask in masks):.0%}".replace("%", " %")
