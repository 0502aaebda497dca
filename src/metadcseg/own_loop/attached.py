"""A method at work in a loop of one's own: it counts, keeps and restores all that is its own."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.methods import Method, StepReport
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.methods.updater import OptimizerUpdater
from metadcseg.networks.committee import Committee, members_of
from metadcseg.networks.tap import TappedNetwork
from metadcseg.own_loop.inputs import check_floats, checked_batch
from metadcseg.tensors import Batch, WeightMaps, check_shape
from metadcseg.warp import Warp

Verified = tuple[Tensor, Tensor, Tensor] | tuple[Tensor, Tensor, Tensor, Tensor]
"""Images, masks and numbers of a gold batch, and where they are known the masks that the verified ones replaced."""

_PARTS = ("method", "network", "seen", "settings", "storage", "updater")  # of a state


class AttachedMethod:
    """A method that trains your model; made by :func:`attach`.

    It counts steps, images and epochs by itself: epoch = images seen // images.

    Attributes:
        network: your model, which also says its features; ``network.head`` names the layer that they enter. Several
            models are a :class:`metadcseg.networks.Committee`.
    """

    def __init__(
        self,
        method: Method,
        network: TappedNetwork | Committee,
        updater: OptimizerUpdater,
        storage: MemoryStorage,
        *,
        classes: int,
        images: int,
        seed: int,
    ) -> None:
        self.network = network
        self._method, self._updater, self._storage = method, updater, storage
        self._classes, self._images = classes, images
        self._seen = 0
        self._said = False
        self._state = method.start(network, updater, torch.Generator().manual_seed(seed), storage)

    def __repr__(self) -> str:
        gold = f"{self._updater.gold_images} gold images" if self._reads_gold else "no gold"
        warmup = self._method.info.warmup
        late = f"warm-up before epoch {warmup}, " if warmup else ""
        return (
            f"{self._method.name}: {self._images} images, {gold}, features in front of '{self.network.head}', "
            f"{late}{self.steps} optimizer steps in {self.epoch} epochs"
        )

    @property
    def steps(self) -> int:
        """How many optimizer steps were taken; a method may take two in one call (l2b)."""
        return self._updater.steps

    @property
    def epoch(self) -> int:
        """How many times ``images`` images were seen."""
        return self._seen // self._images

    @property
    def ema_model(self) -> nn.Module | None:
        """The moving average of your model (or the committee) in evaluation mode; None where ``ema_decay`` is 0."""
        ema_model = self._updater.ema_model
        return None if ema_model is None else _bare(ema_model)

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        *,
        gold: Verified | None = None,
        warp: Warp | None = None,
        edges: Tensor | None = None,
        label_confidence: Tensor | None = None,
    ) -> StepReport:
        """Train on one batch: forward and backward passes, clipping, the optimizer, the moving average.

        Gradients that the parameters hold already count as well: a loss of your own is added by its ``backward()``
        before this call. They are cleared afterwards.

        Args:
            images: (N, C, H, W) float, normalized.
            labels: (N, H, W) int64, the masks as given: 0 to L - 1, or 255 where unknown.
            indices: (N,) int64, each image's own number, from 0 to ``images`` - 1; best on the CPU.
            gold: a batch of verified images: images, masks and numbers from 0 to ``gold_images`` - 1. A method that
                reads no gold ignores it. A fourth part may be the masks that the verified ones replaced, like those,
                255 everywhere for an image without one; a method that does not ask for pairs ignores them.
            warp: how the images were moved, from their augmented grid to their own. Needed by methods that keep
                weights for every pixel; ``Warp.identity(N)`` where nothing was moved.
            edges: (N, H, W) float32, the probability of an edge from 0 to 1 (eq. 8), or None.
            label_confidence: (N, H, W) float32 from 0 to 1, how far ``labels`` are to be trusted, or None: fully.

        Returns:
            The losses by name, detached, and the weights that the step trained with.

        Raises:
            InputError: for a tensor of another shape, dtype or range, gold or a warp that is missing, or a model in
                evaluation mode.
        """
        if not all(member.module.training for member in members_of(self.network)):
            raise InputError("the model is in evaluation mode: call model.train() before the next step")
        noisy = self._noisy(images, labels, indices, warp, edges=edges, label_confidence=label_confidence)
        verified = self._verified(gold)
        if self._updater.ema_model is not None:
            self._updater.ema_model.to(noisy.images.device)  # where the model has been moved since
        self._updater.epoch = self.epoch
        report = self._method.step(self._state, noisy, verified)
        self._seen += len(images)
        return report

    def weights(
        self,
        images: Tensor,
        labels: Tensor,
        indices: Tensor,
        *,
        warp: Warp | None = None,
        edges: Tensor | None = None,
        label_confidence: Tensor | None = None,
    ) -> WeightMaps | None:
        """Return alpha and beta of a batch as they stand, without learning; None where the method keeps none.

        Arguments are those of :meth:`step`.
        """
        noisy = self._noisy(images, labels, indices, warp, edges=edges, label_confidence=label_confidence)
        return self._method.weights(self._state, noisy)

    def predict(self, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, by the moving average where there is one."""
        kept = self._updater.ema_model or self.network
        check_floats(images, self.network)
        check_shape("images", images, (None,) * (2 + self.network.axes))
        return self._method.predict(replace(self._state, network=kept), images.to(self._device))

    def state_dict(self) -> dict[str, Any]:
        """Return all that training depends on, model and optimizer included: tensors and plain values only.

        Schedulers, the order of your images and torch's random state are yours to keep.
        """
        return {
            "settings": self._settings,
            "seen": self._seen,
            "network": dict(_bare(self.network).state_dict()),
            "updater": self._updater.state_dict(),
            "method": self._state.state_dict(),
            "storage": self._storage.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; model and optimizer are those given to :func:`attach`.

        Raises:
            InputError: for the state of another method or of other numbers of images.
            ValueError: where what the method keeps is of more or fewer classes.
        """
        if lacking := [part for part in _PARTS if part not in state]:
            raise InputError(f"this is no state of an attached method: it lacks {', '.join(lacking)}")
        if state["settings"] != self._settings:
            raise InputError(
                f"this state is of a method attached with {state['settings']}, but this one was with {self._settings}: "
                "attach with the same"
            )
        self._seen = int(state["seen"])
        _bare(self.network).load_state_dict(state["network"])
        self._updater.load_state_dict(state["updater"])
        self._state.load_state_dict(state["method"], self._classes)
        self._storage.load_state_dict(state["storage"])

    def _noisy(
        self, images: Tensor, labels: Tensor, indices: Tensor, warp: Warp | None, **maps: Tensor | None
    ) -> Batch:
        if self._storage.maps and warp is None:
            raise InputError(
                f"method '{self._method.name}' keeps numbers for every pixel of every image, so it must know how the "
                "images were moved: give warp, Warp.identity(len(images)) where they were not"
            )
        batch = checked_batch(
            images, labels, indices, self._images, self._classes, self.network, warp, **maps
        )
        if self.network.axes == 2:  # a volume may be a patch of a larger one
            self._storage.set_grid(batch.labels.shape[1:])
        return batch.to(self._device)

    def _verified(self, gold: Verified | None) -> Batch | None:
        if not self._reads_gold:
            return None
        if gold is None:
            raise InputError(
                f"method '{self._method.name}' needs verified images in every step: give "
                "gold=(images, masks, indices)"
            )
        if len(gold) not in (3, 4):
            raise InputError(
                f"gold must be (images, masks, indices), got {len(gold)} parts; a fourth may be the masks that these "
                "replaced"
            )
        images, masks, indices, *replaced = gold
        given = replaced[0] if replaced and self._method.info.uses_pairs else None
        self._say_without_pairs(given)
        most = self._updater.gold_batch
        if len(gold[0]) > most:
            raise InputError(
                f"gold has {len(gold[0])} images, but attach was told gold_batch={most}: give so many, or attach with "
                "the larger number"
            )
        try:
            batch = checked_batch(
                images,
                masks,
                indices,
                self._updater.gold_images,
                self._classes,
                self.network,
                given=given,
            )
        except InputError as error:
            raise InputError(f"gold: {error}") from error
        return batch.to(self._device)

    def _say_without_pairs(self, given: Tensor | None) -> None:
        """Say once where a method asks for the masks that verified ones replaced, and the first gold batch has none."""
        if self._said or not self._method.info.uses_pairs:
            return
        self._said = True
        if given is None:
            own = hasattr(self._method, "pairs")
            other = f", or take create_method('{self._method.name}', pairs=False), which does not need them"
            warnings.warn(
                f"method '{self._method.name}' learns from the masks that verified ones replaced, and gold has none, "
                "so it trusts every label: give them as the fourth part, gold=(images, masks, indices, replaced)"
                f"{other if own else ''}",
                stacklevel=4,
            )

    @property
    def _reads_gold(self) -> bool:
        return self._method.info.needs_gold or self._method.info.supervises_gold

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "method": self._method.name,
            "classes": self._classes,
            "images": self._images,
            "gold_images": self._updater.gold_images,
            "gold_batch": self._updater.gold_batch,
            "ema": self._updater.ema_model is not None,
        }


def _bare(network: nn.Module) -> nn.Module:
    """Return the model that was made to say its features; a committee as it is."""
    return network.module if isinstance(network, TappedNetwork) else network
