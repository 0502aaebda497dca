"""Putting a method beside a model and its optimizer, with every mistake named before the first step."""

import warnings
from collections.abc import Sequence

import torch
from torch import nn

from metadcseg.errors import InputError
from metadcseg.methods import Method, create_method
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.methods.updater import OptimizerUpdater
from metadcseg.networks.committee import Committee
from metadcseg.networks.tap import TappedNetwork, find_heads
from metadcseg.own_loop.attached import AttachedMethod


def attach(
    method: str | Method,
    model: nn.Module | Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    *,
    classes: int,
    images: int,
    gold_images: int = 0,
    gold_batch: int = 0,
    head: str | None = None,
    clip: float = 0.2,
    ema_decay: float = 0.99,
    input_grid: Sequence[int] | None = None,
    seed: int = 0,
) -> AttachedMethod:
    """Return a method that trains your model, step by step, in your loop.

    Args:
        method: a name of :data:`metadcseg.methods.METHODS` for its default options, or a method with its options, of
            :func:`metadcseg.methods.create_method` or of your own.
        model: maps (N, C, H, W) images to logits (N, L, H, W), a tuple or list that begins with them, or a mapping
            that has them as ``logits`` or ``out``. It may also return :class:`metadcseg.networks.Output`. For a method
            that trains several networks (``method.info.networks``), a list of so many, with weights of their own.
        optimizer: any of torch, with all trainable parameters of ``model``. Schedulers stay yours: the learning rate is
            read from it at every step, of several groups the largest.
        classes: L, the number of classes with the background, at least 2.
        images: how many training images there are; an epoch is so many seen.
        gold_images: how many verified images there are; 0 only for a method that reads none.
        gold_batch: how many of them a step gets; 0 only for a method that reads none.
        head: the name of the model's last layer, as ``model.named_modules()`` has it. What enters it are the features
            of eq. 5. By default the last convolution or linear layer with ``classes`` outputs.
        clip: largest norm of the whole gradient, of several models of each one's; 0: not clipped.
        ema_decay: of the moving average of the model, from 0 (no average) to below 1.
        input_grid: (H, W) of an image's own weights, for a method that keeps them for every pixel; by default the
            size of the first batch. Needed for volumes, whose batches may be patches of them: (Z, H, W).
        seed: of the method's own randomness; that of torch (dropout, shuffling) stays yours.

    Returns:
        What :meth:`AttachedMethod.step` is called on.

    Raises:
        InputError: for an argument out of its range or missing, or a model or optimizer that cannot be used.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> attached = attach("supervised", model, optimizer, classes=2, images=10)
        >>> images, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
        >>> sorted(attached.step(images, labels, torch.tensor([0, 7])).scalars)
        ['dice', 'loss', 'pixel']
        >>> attached.steps, tuple(attached.predict(images).shape)
        (1, (2, 2, 8, 8))
    """
    if isinstance(method, str):
        method = create_method(method)
    if isinstance(method, type) or not hasattr(method, "step"):
        raise InputError(
            f"attach: method must be a name or an object with options, such as create_method('l2b'), got {method!r}"
        )
    _check_numbers(
        classes=(classes, 2), images=(images, 1), gold_images=(gold_images, 0), gold_batch=(gold_batch, 0)
    )
    if not (0 <= ema_decay < 1 and clip >= 0):
        raise InputError(
            f"attach: ema_decay must be at least 0 and below 1, clip at least 0, got {ema_decay:g} and {clip:g}"
        )
    reads_gold = method.info.needs_gold or method.info.supervises_gold
    if reads_gold and not (gold_images and gold_batch):
        raise InputError(
            f"attach: method '{method.name}' needs verified images: say how many there are (gold_images) and how many "
            f"a step gets (gold_batch), got {gold_images} and {gold_batch}"
        )
    models = [model] if isinstance(model, nn.Module) else list(model)
    _check_count(method, models)
    tapped: list[TappedNetwork] = []
    for one in models:  # no comprehension: warnings name the caller's line
        tapped.append(_tapped(one, classes, head))
        _check_optimizer(one, optimizer)
    network = tapped[0] if len(tapped) == 1 else Committee(tapped)
    try:
        updater = OptimizerUpdater(
            network, optimizer, clip=clip, ema_decay=ema_decay, gold_images=gold_images, gold_batch=gold_batch
        )
    except (RuntimeError, TypeError) as error:  # of deepcopy
        raise InputError(
            f"attach: {type(models[0]).__name__} cannot be copied for the moving average ({error}); give ema_decay=0, "
            "or attach before the first forward pass"
        ) from error
    storage = MemoryStorage(input_grid)
    return AttachedMethod(method, network, updater, storage, classes=classes, images=images, seed=seed)


def _check_numbers(**numbers: tuple[int, int]) -> None:
    for name, (number, least) in numbers.items():
        if type(number) is not int or number < least:
            raise InputError(f"attach: {name} must be a whole number of at least {least}, got {number!r}")


def _check_count(method: Method, models: Sequence[nn.Module]) -> None:
    wanted = method.info.networks
    what = "one model" if wanted == 1 else f"a list of {wanted} models"
    if len(models) != wanted:
        raise InputError(f"attach: method '{method.name}' needs {what}, got {len(models)}: give so many")
    held = [id(parameter) for model in models for parameter in {*model.parameters()}]
    if len(set(held)) < len(held):
        raise InputError(
            f"attach: method '{method.name}' needs {what} that learn from each other, and some share weights: create "
            "each anew"
        )


def _tapped(model: nn.Module, classes: int, head: str | None) -> TappedNetwork:
    """Return the model, made to say its features."""
    if isinstance(model, TappedNetwork):
        if head is not None:
            raise InputError(f"attach: head is for models that do not know it; this one has '{model.head}'")
        return model
    wrapped = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    if wrapped or hasattr(model, "_orig_mod"):
        raise InputError(
            f"attach: {type(model).__name__} stands between the model and the meta step's derivative: give the model "
            "inside (model.module, or the one before torch.compile); metadcseg train shares batches among devices"
        )
    volumes = any(isinstance(layer, nn.Conv3d | nn.ConvTranspose3d) for layer in model.modules())
    if head is None:
        head = _find_head(model, classes)
    return TappedNetwork(model, head, classes=classes, axes=3 if volumes else 2)


def _find_head(model: nn.Module, classes: int) -> str:
    """Return the name of the last layer, with a warning where it is a guess among several."""
    name = type(model).__name__
    try:
        found = find_heads(model, classes)
    except InputError as error:
        raise InputError(
            f"attach: {name} has no convolution or linear layer inside, so its features cannot be found: name the "
            "layer that makes the logits, head='NAME'"
        ) from error
    if len(found) > 1:
        warnings.warn(
            f"{len(found)} layers of {name} may make its logits ({', '.join(found)}): '{found[-1]}' is taken, whose "
            "input are the features of eq. 5; name it with head='NAME'",
            stacklevel=4,
        )
    return found[-1]


def _check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse what is no optimizer, or would leave parameters as they are."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"attach: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise InputError(
            f"attach: the optimizer lacks {len(missing)} trainable parameters of {type(model).__name__}, such as "
            f"'{missing[0]}': create it from model.parameters(), or freeze them with requires_grad_(False)"
        )
