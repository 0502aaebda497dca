"""Forward mode, operation by operation: a derivative that rides along on a network's own forward pass.

A :class:`Dual` is a tensor with its tangent, the derivative in one direction. Where an operation of the network
meets one, the operation itself runs as it always does, with its autograd graph, and the tangent of its result is
computed beside it, without one. So one pass serves both training and the meta step, and no tangent lives longer
than the activation it belongs to. Few operations make up a segmentation network; those have rules here that cost
little more than the operation. All others go through torch's own forward mode, one operation at a time.

``torch.func.jvp`` computes the same. It would run the network a second time, or, with a graph for the training
step, would record one for the tangents as well; and its rule for group normalization takes a dozen passes over
the data where two suffice.

Only what torch documents is used here: its private parts move from release to release.
"""

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, autograd
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx
from torch.nn.attention import SDPBackend, sdpa_kernel

from metadcseg.forward_mode.random_state import kept_random_state, random_state
from metadcseg.forward_mode.rule import Tangents
from metadcseg.forward_mode.rules import RULES

__all__ = ["Dual", "NoForwardRule", "primals"]

_VIEWS_OF_A_GETTER = ("T", "mT", "H", "mH")
_IN_PLACE = (
    "__setitem__",
    *(f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")),
)


class NoForwardRule(Exception):
    """An operation of the network cannot carry a tangent; its text is the operation's name."""


class Dual(Tensor):
    """A tensor and its tangent, which every operation of torch takes like any other tensor.

    It has no memory of its own: what reads its numbers without asking it (compiled extensions do) fails, so
    that no tangent is lost in silence.

    Args:
        primal: any real floating-point tensor, with or without a graph.
        tangent: of the same shape and dtype, without a graph.

    Example:
        >>> angle = Dual(torch.tensor(0.0), torch.tensor(1.0))
        >>> (2 * torch.sin(angle)).tangent
        tensor(2.)
    """

    primal: Tensor
    tangent: Tensor

    @staticmethod
    def __new__(cls, primal: Tensor, tangent: Tensor) -> "Dual":  # noqa: D102 (its class is documented)
        outline = torch.empty_strided(primal.shape, primal.stride(), dtype=primal.dtype, device="meta")
        dual: Dual = outline.as_subclass(cls)
        dual.primal, dual.tangent = primal, tangent
        return dual

    def __init__(self, primal: Tensor, tangent: Tensor) -> None:
        pass

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            return _read_attribute(func, args[0])
        if not torch.is_grad_enabled():  # what the network computes without gradient is a constant to it
            _refuse_custom_function()
            return func(*primals(args), **primals(kwargs))
        if not inspect.isroutine(func) and not str(func).startswith("aten."):
            # an object and no function, so its derivative is out of forward mode's sight
            raise NoForwardRule(f"the custom operation {func}")
        if kwargs.get("out") is not None:
            raise NoForwardRule(f"{name} with out=")
        if _changes_in_place(name, kwargs):
            return _change_in_place(func, name, args, kwargs)
        if func in RULES:
            found = RULES[func](*args, **kwargs)
            if found is not NotImplemented:
                return _dual(*found)
        return _with_torch(func, name, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise NoForwardRule(str(func))


def _dual(primal: Any, tangent: Any) -> Any:
    """Join what an operation returned with its tangents; what has none stays a plain value."""
    if isinstance(primal, tuple | list):
        pairs = [_dual(*pair) for pair in zip(primal, tangent, strict=True)]
        return type(primal)(*pairs) if hasattr(primal, "_fields") else type(primal)(pairs)
    if tangent is None or not isinstance(primal, Tensor):
        return primal
    if tangent.stride() != primal.stride() and 0 not in primal.stride():
        # views and in-place operations to come must do to the tangent what they do to the primal
        tangent = torch.empty_like(primal.detach()).copy_(tangent)
    return Dual(primal, tangent)


def primals(value: Any) -> Any:
    """Return a value, however nested, with plain tensors in place of duals."""
    return _mapped(value, lambda entry: entry.primal if isinstance(entry, Dual) else entry)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested arguments with every entry changed that is no tuple, list or dict."""
    if isinstance(value, tuple | list):
        entries = [_mapped(entry, change) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    if isinstance(value, dict):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    return change(value)


def _read_attribute(getter: Callable[..., Any], dual: Dual) -> Any:
    name = getattr(getattr(getter, "__self__", None), "__name__", "")
    if name in _VIEWS_OF_A_GETTER:
        return _dual(getter(dual.primal), getter(dual.tangent))
    if name in ("real", "imag"):
        raise NoForwardRule(name)
    return getter(dual.primal)


def _changes_in_place(name: str, kwargs: dict[str, Any]) -> bool:
    if name.startswith("__"):
        return name in _IN_PLACE
    return name.endswith("_") or kwargs.get("inplace") is True


def _change_in_place(func: Callable[..., Any], name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    changed = args[0] if args else kwargs.get("input")
    if not isinstance(changed, Dual):
        raise NoForwardRule(f"{name} on a tensor made before")  # it has no place for a tangent
    if func in RULES:
        found = RULES[func](*args, **kwargs)
        if found is not NotImplemented:
            changed.tangent.copy_(found[1])
            return changed
    # the random numbers are left for the operation itself, which comes last
    with kept_random_state([changed.primal.device]), _torch_duals() as make:
        moved = make(Dual(changed.primal.clone(), changed.tangent.clone()))
        func(moved, *make(args[1:]), **make(kwargs))
        after = _torch_tangent(moved)
        if moved.shape != changed.shape:
            raise NoForwardRule(f"{name}, which changes a shape in place,")
    changed.tangent.copy_(torch.zeros_like(changed.tangent) if after is None else after)
    func(changed.primal, *primals(args[1:]), **primals(kwargs))
    return changed


def _with_torch(func: Callable[..., Any], name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation, and then once more on its own in torch's forward mode, with the same random numbers."""
    devices = {tensor.device for tensor in _tensors((args, kwargs))}
    put_back = random_state(devices)
    primal = func(*primals(args), **primals(kwargs))
    if any(tensor.is_complex() for tensor in _tensors(primal)):
        raise NoForwardRule(f"{name} with complex numbers")
    if not any(tensor.is_floating_point() for tensor in _tensors(primal)):
        return primal  # a size, an index, a comparison, a hook
    with kept_random_state(devices), _torch_duals() as make:
        put_back()
        return _dual(primal, _tangents_of(func(*make(args), **make(kwargs))))


@contextmanager
def _torch_duals() -> Iterator[Callable[..., Any]]:
    """Yield what turns arguments into torch's dual tensors, without graph.

    They keep their order in memory: random masks are drawn along it, and views stay views. Other tensors are copies:
    buffers that the operation writes, such as running statistics, move once.
    """

    def of_torch(value: Any) -> Any:
        if not isinstance(value, Dual):
            return value.detach().clone() if isinstance(value, Tensor) else value
        primal, tangent = value.primal.detach(), value.tangent
        if 0 in primal.stride():  # expanded: elements that share memory cannot have tangents of their own
            primal, tangent = primal.contiguous(), tangent.contiguous()
        return forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]

    load_rules_of_torch()
    # fused attention has no forward-mode rule, the MATH backend has
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        yield lambda value: _mapped(value, of_torch)


def _tangents_of(value: Any) -> Tangents:
    if isinstance(value, tuple | list):
        return [_tangents_of(entry) for entry in value]
    if not isinstance(value, Tensor):
        return None
    return _torch_tangent(value)


def _torch_tangent(value: Tensor) -> Tensor | None:
    tangent: Tensor | None = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
    return None if tangent is None else tangent.detach()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Dual):
        yield value.primal
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from _tensors(entry)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _refuse_custom_function() -> None:
    """Raise inside a torch.autograd.Function: it switches gradients off, yet its result is no constant.

    Nothing of ``Function.apply`` is seen among the callers where torch wrote it in C++ (from 2.14 on), so the
    function's own ``forward`` is looked for: by its code, or by the context that torch hands to it.
    """
    forwards = dict(_forwards_of(autograd.Function))
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = _context_of(frame) or forwards.get(frame.f_code)
        if name is not None:
            raise NoForwardRule(f"autograd.Function {name}")
        frame = frame.f_back


def _context_of(frame: FrameType) -> str | None:
    """Return the name of the autograd.Function whose context is a caller's first argument, None without one."""
    code = frame.f_code
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    return type(first).__name__.removesuffix("Backward") if isinstance(first, FunctionCtx) else None


def _forwards_of(kind: type) -> Iterator[tuple[CodeType, str]]:
    """Yield the code of every ``forward`` that is written below an autograd.Function, with that one's name."""
    children: list[type] = type.__subclasses__(kind)
    for below in children:
        if "forward" in vars(below):
            code = _code_of(getattr(below, "forward"))  # noqa: B009 (mypy knows no forward of a type)
            if code is not None:
                yield code, below.__name__
        yield from _forwards_of(below)


def _code_of(function: Any) -> CodeType | None:
    """Return what a function runs, without the decorators about it; None where it is not written in Python."""
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__code__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 (the function behind the call is wanted)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


@cache
def load_rules_of_torch() -> None:
    """Let torch load its forward-mode rules: at the first use it warns about its own use of TorchScript."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):  # by its release
            warnings.simplefilter("ignore", kind)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))
