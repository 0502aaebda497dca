"""Whether scores are those of a run as it is now, got as every other run's were."""

from collections.abc import Mapping
from typing import Any

from metadcseg.results.records import mapping, same_content

SET, EPOCHS, INFERENCE = "set", "epochs", "inference"


def doubts(evaluation: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, str]:
    """Return why an evaluation does not stand for a run; nothing where it is current and plain.

    Args:
        evaluation: what ``evaluation/SPLIT.json`` says.
        info: what ``run.json`` says: of it ``set`` and ``epochs_done``. What either of the two does not say, as of an
            earlier version, raises no doubt; a set that only one of them names does.

    Returns:
        What is in doubt to how it was evaluated, in words: :data:`SET` (another than it was trained on),
        :data:`EPOCHS` (it was trained on since), :data:`INFERENCE` (with test-time options).

    Example:
        >>> run = {"set": {"fingerprint": "a"}, "epochs_done": 3}
        >>> doubts({"set": {"fingerprint": "a"}, "epochs_done": 2, "inference": {"flips": True}}, run)
        {'epochs': 'after 2 epochs, of 3 now', 'inference': 'with flips True'}
    """
    found = {}
    if not same_content(mapping(evaluation, "set"), mapping(info, "set")):
        found[SET] = "on another set than it was trained on"
    then, now = evaluation.get("epochs_done"), info.get("epochs_done")
    if then is not None and now is not None and then != now:
        found[EPOCHS] = f"after {then} epochs, of {now} now"
    if asked := asked_of(evaluation):
        found[INFERENCE] = "with " + ", ".join(f"{name} {value}" for name, value in asked.items())
    return found


def asked_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the test-time options that scores were made with, where they change more than the last digits.

    Args:
        evaluation: what ``evaluation/SPLIT.json`` says.

    Returns:
        Option to value; nothing where it was the default.

    Example:
        >>> asked_of({"inference": {"flips": True, "batch_size": 8}})
        {'flips': True}
    """
    return {name: value for name, value in mapping(evaluation, "inference").items() if name != "batch_size"}
