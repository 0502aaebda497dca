"""What a page says about its runs in words: what was done, who came first, and what that is worth."""

from collections.abc import Sequence

from metadcseg.data.store.reader import ROLES, PreparedSet
from metadcseg.results.records import RunRecord, mapping, number, paired_difference


def headline(runs: Sequence[RunRecord], prepared: PreparedSet | None) -> str:
    """Say in plain words what was done to how many cases."""
    networks = "One network was" if len(runs) == 1 else f"{_in_words(len(runs))} networks were"
    if prepared is None:
        return f"{networks} trained; the prepared set could not be opened, so its pictures are left out."
    counts = {role: len(prepared.select(role)) for role in ROLES}
    gold = f"{counts['gold']} more cases have verified masks (gold). "
    if counts["gold"] == 0:
        gold = "No case has a verified mask (gold). "
    return (
        f"{networks} trained on {counts['train']} cases {_noise_in_words(prepared)}. {gold}"
        f"All are scored on the same {counts['test']} test cases, which no training saw."
    )


def _noise_in_words(prepared: PreparedSet) -> str:
    if prepared.noise is None:
        return "with their masks as given"
    rate = number(prepared.noise.get("rate"))
    if rate is None:
        return "whose masks were spoilt on purpose"
    target = number(prepared.noise.get("target"))
    asked = "" if target is None else f", where {target:.0%} was asked for"
    return (
        f"whose masks were spoilt on purpose: on average {rate:.1%} wrong (1 − DSC to the true mask){asked}"
    )


def _in_words(count: int) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    return words[count] if count < len(words) else str(count)


def signed(value: float) -> str:
    """Return a difference with its sign.

    Example:
        >>> signed(0.0184), signed(-0.1)
        ('+0.018', '−0.100')
    """
    return f"{value:+.3f}".replace("-", "−")


def ranking(ranked: Sequence[RunRecord]) -> str:
    """Name the runs in the order of their mean DSC, whatever it is."""
    scored = [(run.name, spread[0]) for run in ranked if (spread := run.spread("dsc"))]
    if not scored:
        return "No run has been scored on the test cases yet."
    return "By mean DSC: " + ", then ".join(f"{name} ({mean:.3f})" for name, mean in scored) + "."


def comparisons(runs: Sequence[RunRecord], baseline: RunRecord | None) -> list[str]:
    """Say how far every run is from plain supervision with equal gold, case by case."""
    if baseline is None:
        return [
            "No scored run is plainly supervised with the gold masks mixed in (supervised, gold = mixed). "
            "Without that row nobody can tell what a method adds to the gold masks themselves."
        ]
    sentences = []
    for run in runs:
        difference = paired_difference(run, baseline)
        if run is baseline or difference is None:
            continue
        spread = "" if difference.sd is None else f" ± {difference.sd:.3f}"
        ratio = (
            f", {abs(difference.mean) / difference.sd:.1f} of its standard deviations"
            if difference.sd
            else ""
        )
        sentences.append(
            f"{run.name} minus {baseline.name}: {signed(difference.mean)}{spread} DSC over {difference.count} "
            f"paired cases{ratio}; better in {difference.better}, worse in {difference.worse}."
        )
    return sentences


def seeds(runs: Sequence[RunRecord]) -> str:
    """Say how much the number of seeds allows to conclude."""
    found: dict[str, set[str]] = {}
    for run in runs:
        label = str(run.info.get("label") or run.name)
        found.setdefault(label, set()).add(str(run.info.get("seed", "unknown")))
    fewest = min(len(each) for each in found.values())
    if fewest > 1:
        return f"At least {fewest} seeds per method: compare the rows of one method before comparing methods."
    return (
        "One seed: differences within the spread mean nothing, and another seed may turn the order around. "
        "Compare several seeds before you believe a ranking."
    )


def mismatches(runs: Sequence[RunRecord], prepared: PreparedSet | None) -> list[str]:
    """Say where rows are not comparable, and repeat what their evaluations note."""
    sentences = []
    for run in runs:
        trained_on = mapping(run.info, "set").get("fingerprint")
        if prepared is not None and trained_on is not None and trained_on != prepared.fingerprint:
            sentences.append(f"{run.name} was trained on another set than {prepared.path}.")
        notes = run.evaluation.get("notes")
        sentences += [f"{run.name}: {note}." for note in notes] if isinstance(notes, list) else []
    scored = {frozenset(run.cases) for run in runs if run.cases}
    if len(scored) > 1:
        sentences.append("The runs were not all scored on the same cases, so their means are not comparable.")
    return sentences
