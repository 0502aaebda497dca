"""The methods, and the registry that makes them known by name.

``metadcseg`` is the paper's; ``calibrated`` and ``binned`` are ours; the others are what to compare them with, of which
``glc`` and ``pairs`` use the masks that the verified ones replaced, as ``calibrated`` does. ``coteaching``,
``trinet`` and ``hamil`` train several networks.
"""

from dataclasses import fields
from typing import Any

from metadcseg.errors import unknown_name
from metadcseg.methods.adele import ADELE
from metadcseg.methods.base import (
    Method,
    MethodInfo,
    MethodState,
    PixelMaps,
    StepReport,
    Storage,
    Updater,
)
from metadcseg.methods.binned.method import Binned
from metadcseg.methods.calibrated.method import Calibrated
from metadcseg.methods.condseg.method import ConDSeg
from metadcseg.methods.glc import GLC
from metadcseg.methods.hamil import HAMIL
from metadcseg.methods.l2b.method import L2B
from metadcseg.methods.madgnet.method import MADGNet
from metadcseg.methods.maxformer import MAXFormer
from metadcseg.methods.meta_weight_net import MetaWeightNet
from metadcseg.methods.metadcseg.method import MetaDCSeg
from metadcseg.methods.pairs import Pairs
from metadcseg.methods.robust import Robust
from metadcseg.methods.small_loss import CoTeaching, TriNet
from metadcseg.methods.supervised import Supervised

METHODS: dict[str, type[Any]] = {
    method.name: method
    for method in (
        *(Calibrated, Binned, MetaDCSeg, L2B, GLC, Pairs),
        *(Robust, ADELE, CoTeaching, TriNet, HAMIL, MetaWeightNet),
        *(MAXFormer, MADGNet, ConDSeg),
        Supervised,
    )
}
"""Every method by its name."""


def create_method(name: str, **options: Any) -> Method:
    """Return a method with its options; those left out keep their defaults.

    Raises:
        InputError: for a method or an option that nobody knows, or a value that is not allowed.

    Example:
        >>> create_method("supervised", gold="mixed").info.needs_gold
        True
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    known = [option.name for option in fields(METHODS[name])]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of method '{name}'", option, known)
    method: Method = METHODS[name](**options)
    return method


__all__ = [
    "ADELE",
    "GLC",
    "HAMIL",
    "L2B",
    "METHODS",
    "Binned",
    "Calibrated",
    "CoTeaching",
    "ConDSeg",
    "MADGNet",
    "MAXFormer",
    "MetaDCSeg",
    "MetaWeightNet",
    "Method",
    "MethodInfo",
    "MethodState",
    "Pairs",
    "PixelMaps",
    "Robust",
    "StepReport",
    "Storage",
    "Supervised",
    "TriNet",
    "Updater",
    "create_method",
]
