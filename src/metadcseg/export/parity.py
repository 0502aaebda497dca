"""What every exported network is held to: it predicts as the run does, or a sentence says why there is no file."""

from metadcseg.errors import InputError
from metadcseg.training.run.folder import TrainedRun

TOLERANCE = 1e-4
"""By how much a probability of an exported network may differ."""


def network_name(trained: TrainedRun) -> str:
    """Return what a sentence calls the network of a run: its class, where it is the user's own."""
    network = trained.info["network"]
    return str(network.get("class_path") or network["name"])


def reason_of(error: Exception) -> str:
    r"""Return the first line of what an exporter raised, for a sentence.

    Example:
        >>> reason_of(ValueError(" no rule\nfor it")), reason_of(KeyError())
        ('no rule', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def check_difference(trained: TrainedRun, difference: float) -> float:
    """Return by how much a probability differs at most.

    Raises:
        InputError: where that is more than :data:`TOLERANCE`, as where a method predicts otherwise.
    """
    if not difference <= TOLERANCE:
        raise InputError(
            f"{trained.folder.path}: the exported network must predict as the method {trained.info['method']} does, to "
            f"{TOLERANCE:g}, and differs by {difference:.2g}: predict with metadcseg predict instead"
        )
    return difference
