"""Train medical segmentation networks on imperfect masks and a handful of verified ones.

All that is public is on this page; everything else may change without notice. A name is imported when it is first
used: ``import metadcseg`` takes milliseconds and does not load torch, and neither do ``PreparedSet`` and its arrays.

    >>> import metadcseg
    >>> metadcseg.create_method("supervised", gold="mixed").info.needs_gold
    True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names again, for type checkers and editors
    from metadcseg import functional as functional
    from metadcseg.algorithm.center_distance import DynamicCenterDistance as DynamicCenterDistance
    from metadcseg.audit.label_issues import find_label_issues as find_label_issues
    from metadcseg.audit.run import audit_run as audit_run
    from metadcseg.constants import IGNORE as IGNORE
    from metadcseg.data import PreparedSet as PreparedSet
    from metadcseg.data.prepare.checks import check_folder as check_folder
    from metadcseg.data.prepare.pipeline import prepare_folder as prepare_folder
    from metadcseg.data.synthetic.corruption import corrupt_set as corrupt_set
    from metadcseg.errors import InputError as InputError
    from metadcseg.evaluation.evaluate import evaluate_run as evaluate_run
    from metadcseg.evaluation.loaded import load as load
    from metadcseg.evaluation.predict_files import predict_images as predict_images
    from metadcseg.methods import L2B as L2B
    from metadcseg.methods import METHODS as METHODS
    from metadcseg.methods import Binned as Binned
    from metadcseg.methods import Calibrated as Calibrated
    from metadcseg.methods import MetaDCSeg as MetaDCSeg
    from metadcseg.methods import Supervised as Supervised
    from metadcseg.methods import create_method as create_method
    from metadcseg.methods.binned.binned_weights import BinnedWeights as BinnedWeights
    from metadcseg.methods.metadcseg.pixel_weights import PixelWeights as PixelWeights
    from metadcseg.metrics import score_labels as score_labels
    from metadcseg.networks import NetworkOptions as NetworkOptions
    from metadcseg.networks import create_network as create_network
    from metadcseg.own_loop import attach as attach
    from metadcseg.tensors import Batch as Batch
    from metadcseg.tensors import WeightMaps as WeightMaps
    from metadcseg.training import TrainingOptions as TrainingOptions
    from metadcseg.training import train as train
    from metadcseg.warp import Warp as Warp

    __version__: str

_HOMES = {
    # The paper: its equations as functions of tensors, and what of them remembers as modules.
    "functional": "metadcseg.functional",
    "DynamicCenterDistance": "metadcseg.algorithm.center_distance",
    "PixelWeights": "metadcseg.methods.metadcseg.pixel_weights",
    "BinnedWeights": "metadcseg.methods.binned.binned_weights",
    # What these work on.
    "Batch": "metadcseg.tensors",
    "WeightMaps": "metadcseg.tensors",
    "Warp": "metadcseg.warp",
    "IGNORE": "metadcseg.constants",
    # Methods and networks, in our training or in yours.
    "METHODS": "metadcseg.methods",
    "create_method": "metadcseg.methods",
    "attach": "metadcseg.own_loop",
    "Calibrated": "metadcseg.methods",
    "MetaDCSeg": "metadcseg.methods",
    "Binned": "metadcseg.methods",
    "L2B": "metadcseg.methods",
    "Supervised": "metadcseg.methods",
    "NetworkOptions": "metadcseg.networks",
    "create_network": "metadcseg.networks",
    # From images and masks to a prepared set.
    "check_folder": "metadcseg.data.prepare.checks",
    "prepare_folder": "metadcseg.data.prepare.pipeline",
    "PreparedSet": "metadcseg.data",
    "corrupt_set": "metadcseg.data.synthetic.corruption",
    # From a prepared set to a trained network, its scores and its masks.
    "TrainingOptions": "metadcseg.training",
    "train": "metadcseg.training",
    "load": "metadcseg.evaluation.loaded",
    "evaluate_run": "metadcseg.evaluation.evaluate",
    "predict_images": "metadcseg.evaluation.predict_files",
    "score_labels": "metadcseg.metrics",
    # Which masks are wrong, where, and what they should be.
    "audit_run": "metadcseg.audit.run",
    "find_label_issues": "metadcseg.audit.label_issues",
    # What all of them raise where something given is wrong.
    "InputError": "metadcseg.errors",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        found: Any = import_module("importlib.metadata").version("metadcseg")
    elif (home := _HOMES.get(name)) is None:
        raise AttributeError(
            f"module 'metadcseg' has no attribute '{name}' (public names: {', '.join(__all__)})"
        )
    else:
        module = import_module(home)
        found = module if home == f"metadcseg.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
