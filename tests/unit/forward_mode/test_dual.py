"""Every rule, and what torch's own forward mode does for the rest, against torch.func.jvp on the same function."""

import functools
import warnings

import pytest
import torch
from tests.gradients.networks import Answer, seeded
from torch import nn
from torch.func import jvp as torch_jvp
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from metadcseg.errors import InputError
from metadcseg.forward_mode import call as changes
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.dual import Dual, NoForwardRule
from metadcseg.forward_mode.jvp import jvp
from metadcseg.forward_mode.kernels import kernel_of

GENERATOR = torch.Generator().manual_seed(0)


def rand(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


X, DX = rand(2, 4, 6, 6), rand(2, 4, 6, 6)
W, DW = rand(4, 4, 3, 3), rand(4, 4, 3, 3)
B, DB = rand(4), rand(4)
PLAIN = rand(2, 4, 6, 6)


def derivative(function, values, tangents):
    """What torch says, which at its first use warns about its own use of TorchScript."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):  # by torch's release
            warnings.simplefilter("ignore", kind)
        return torch_jvp(function, values, tangents)[1]


def written_into(x):
    y = x * 1.0
    y[:, :2] = y[:, 2:] ** 2
    y[:, 0].add_(x[:, 1]).mul_(3.0)
    return y


def changed_behind_a_view(x):
    y = x + 0.0
    part = y.reshape(2, 4, 36)[:, 1:3]
    F.leaky_relu(part, 0.1, inplace=True)
    part.mul_(2.0)
    return y * part.sum()


def turned(x):
    return x.permute(0, 2, 3, 1) + x.movedim(1, -1).contiguous()


ONE = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x * 1.0, inplace=True),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "leaky_relu in place": lambda x: F.leaky_relu(x * 1.0, 0.2, inplace=True),
    "silu": F.silu,
    "gelu": F.gelu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=torch.float64)),
    "elu in place": lambda x: F.elu(x * 1.0, inplace=True),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad with a number": lambda x: F.pad(x, (1, 2), value=3.0),
    "pad by replication": lambda x: F.pad(x, (1, 1, 1, 1), "replicate"),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    "max_pool": lambda x: F.max_pool2d(x, 2),
    "max_pool, overlapping": lambda x: F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True),
    "max_pool with its indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "dropout at rest": lambda x: F.dropout(F.dropout(x, 0.5, training=False), 0.0) * x,
    "dropout in place at rest": lambda x: F.dropout(x * 1.0, 0.0, True, True),
    "avg_pool": lambda x: F.avg_pool2d(x, 2),
    "cat along an axis": lambda x: torch.cat([x, x], axis=1),
    "scaled by a whole number": lambda x: x * int(x.sum() * 0 + 3),
    "cat with a constant": lambda x: torch.cat([x, PLAIN, x * 2], 1),
    "add a constant": lambda x: x + PLAIN,
    "add to a number": lambda x: 1.0 + x,
    "add twice": lambda x: torch.add(x, x, alpha=2),
    "add in place": lambda x: (x * 1.0).add_(x),
    "iadd": lambda x: x.__mul__(2.0).__iadd__(PLAIN),
    "broadcast sum": lambda x: x[:1, :1] + PLAIN,
    "subtract, divide": lambda x: (PLAIN - x) / (1 + x * x),
    "softmax": lambda x: x.softmax(dim=1),
    "squeeze and excite": lambda x: x * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True)),
    "max over channels": lambda x: x.max(dim=1).values,
    "min and where it is": lambda x: torch.min(x, -1, keepdim=True)[0] * 2,
    "max of two": lambda x: torch.max(x, PLAIN),
    "sigmoid": lambda x: F.sigmoid(x) + torch.sigmoid(x) * x.sigmoid(),
    "softmax, three ways": lambda x: F.softmax(x, -1) + torch.softmax(x, 2) * x.softmax(0),
    "softmax of another kind": lambda x: x.softmax(1, dtype=torch.float64),
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu in place": lambda x: F.silu(x * 1.0, inplace=True),
    "sums and means": lambda x: x.sum() + x.mean((2, 3), keepdim=True) - torch.sum(x, 1, keepdim=True),
    "stacked": lambda x: torch.stack([x, PLAIN, x * x], 1).sum(1),
    "folded": lambda x: F.fold(F.unfold(x, 3, padding=1), 6, 3, padding=1),
    "matmul with a constant": lambda x: PLAIN @ x + x.matmul(PLAIN),
    "einsum": lambda x: torch.einsum("nchw,ncwk->nhk", x, x + 1) @ torch.einsum("ncij->nji", [x]),
    "divided by a number": lambda x: x / 3 + x.div(2.0) - 1 / (x * x + 1),
    "rounded quotient": lambda x: torch.div(x, 2.0, rounding_mode="floor") * x,
    "less": lambda x: (x - 1.0) - (PLAIN[:1, :1] - x),
    "a product of kinds": lambda x: x * torch.ones(6) * torch.arange(6),
    "chunks": lambda x: torch.cat(list(x.chunk(2, dim=1))[::-1], dim=1),
    "unpacked": lambda x: sum(x.unbind(0)),
    "indexed": lambda x: x[:, [0, 2], ..., ::2],
    "permuted": turned,
    "transposed": lambda x: x.flatten(2).mT @ x.flatten(2),
    "channels last": lambda x: F.relu(x.contiguous(memory_format=torch.channels_last)),
    "instance_norm": lambda x: F.instance_norm(x),
    "layer_norm": lambda x: F.layer_norm(x, (6, 6)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3),
    "written into": written_into,
    "changed behind a view": changed_behind_a_view,
    "to another dtype and back": lambda x: x.float().double(),
    "constant part": lambda x: x * x.detach(),
    "data dependent": lambda x: x * 2 if x.sum() > 0 else x * 3,
}


@pytest.mark.parametrize("function", ONE.values(), ids=ONE.keys())
def test_a_tangent_is_the_derivative(function):
    got = function(Dual(X, DX))
    primal, expected = function(X), derivative(function, (X,), (DX,))
    assert torch.equal(got.primal, primal)
    torch.testing.assert_close(got.tangent, expected, rtol=1e-10, atol=1e-12)
    assert got.shape == primal.shape
    assert got.stride() == primal.stride() == got.tangent.stride()


SEVERAL = {
    "conv": lambda x, w, b: F.conv2d(x, w, b, padding=1),
    "conv, stride, groups": lambda x, w, b: F.conv2d(x, w[:, :2], b, stride=2, groups=2),
    "transposed conv": lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
    "linear": lambda x, w, b: F.linear(x.movedim(1, -1), w[:, :, 0, 0], b),
    "group_norm": lambda x, w, b: F.group_norm(x, 2, b, w[:, 0, 0, 0]),
    "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, b, w[:, 0, 0, 0], training=True),
    "batch_norm at rest": lambda x, w, b: F.batch_norm(x, B, B.abs() + 1, b, w[:, 0, 0, 0]),
    "instance_norm": lambda x, w, b: F.instance_norm(x, weight=b, bias=w[:, 0, 0, 0]),
    "product": lambda x, w, b: x * b.view(1, -1, 1, 1) + w.sum(),
    "matmul": lambda x, w, b: x @ w.reshape(6, 24) + b.sum(),
    "quotient": lambda x, w, b: x / (b.view(1, -1, 1, 1).square() + 1) - w.sum() / (b.square().sum() + 2),
    "layer_norm": lambda x, w, b: F.layer_norm(x, (6,), w[0, 0].flatten()[:6], torch.cat([b, b[:2]])),
    "attention by hand": lambda x, w, b: (
        (x @ x.transpose(-2, -1) * b.view(1, -1, 1, 1)).softmax(-1) @ x - w.mean()
    ),
}


@pytest.mark.parametrize("moving", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("function", SEVERAL.values(), ids=SEVERAL.keys())
def test_every_argument_may_move(function, moving):
    values, tangents = (X, W, B), (DX, DW, DB)
    still = [i not in moving for i in range(3)]
    got = function(*(v if s else Dual(v, t) for v, t, s in zip(values, tangents, still, strict=True)))
    zeroed = tuple(torch.zeros_like(t) if s else t for t, s in zip(tangents, still, strict=True))
    primal, expected = function(*values), derivative(function, values, zeroed)
    assert torch.equal(getattr(got, "primal", got), primal)
    tangent = getattr(got, "tangent", torch.zeros_like(primal))
    torch.testing.assert_close(tangent, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_leaves_the_same_numbers_out(inplace):
    def seeded(values):
        torch.manual_seed(4)
        return F.dropout(values * 1.0, 0.3, True, inplace)

    got, kept = seeded(Dual(X, DX)), seeded(torch.ones_like(X))
    assert torch.equal(got.primal, seeded(X))
    torch.testing.assert_close(got.tangent, DX * kept)
    assert 0.4 < (kept > 0).double().mean() < 0.9


@pytest.mark.parametrize("where", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_stays_what_it_is(where):
    x, dx = (value.contiguous(memory_format=where) for value in (X, DX))
    out = F.leaky_relu(F.group_norm(F.conv2d(Dual(x, dx), Dual(W, DW), padding=1), 2))
    expected = derivative(lambda *v: F.leaky_relu(F.group_norm(F.conv2d(*v, padding=1), 2)), (X, W), (DX, DW))
    torch.testing.assert_close(out.tangent, expected, rtol=1e-10, atol=1e-12)
    assert out.primal.is_contiguous(memory_format=where)
    assert out.tangent.is_contiguous(memory_format=where)


def test_the_graph_of_the_primal_is_the_usual_one():
    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    out = F.group_norm(F.conv2d(Dual(x, DX), Dual(w, DW)), 2)
    assert not out.tangent.requires_grad
    assert not out.requires_grad or out.primal.requires_grad
    got = torch.autograd.grad(out.primal.square().sum(), [x, w])
    expected = torch.autograd.grad(F.group_norm(F.conv2d(x, w), 2).square().sum(), [x, w])
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


def test_what_a_network_computes_without_gradient_is_constant():
    x = Dual(X, DX)
    with torch.no_grad():
        scale = x.sum()
    assert type(scale) is torch.Tensor
    torch.testing.assert_close((x * scale).tangent, DX * X.sum())


def last(x):
    return x.to(memory_format=torch.channels_last) * 1.0


MASKED = {
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout, channels last": lambda x: F.dropout(last(x), 0.5),
    "dropout of tokens": lambda x: F.dropout(x.flatten(2).transpose(1, 2), 0.5),
    "dropout in place": lambda x: F.dropout(x * 1.0, 0.5, inplace=True),
    "dropout2d in place": lambda x: F.dropout2d(x * 1.0, 0.5, inplace=True),
    "alpha_dropout, channels last": lambda x: F.alpha_dropout(last(x), 0.5, True),
    "rrelu": lambda x: F.rrelu(x, training=True),
}


@pytest.mark.parametrize("function", MASKED.values(), ids=MASKED.keys())
def test_the_tangent_takes_the_random_numbers_of_the_primal(function):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        plain, state = function(X), torch.get_rng_state()
        torch.manual_seed(1)
        got = function(Dual(X, DX))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(got.primal, plain)
        step = 1e-6
        ahead = []
        for sign in (1, -1):
            torch.manual_seed(1)
            ahead.append(function(X + sign * step * DX))
    torch.testing.assert_close(got.tangent, (ahead[0] - ahead[1]) / (2 * step), rtol=1e-6, atol=1e-7)


def narrowed(x):
    y = last(x)
    y.narrow(1, 0, 2).mul_(2.0)
    y.select(2, 1).add_(x[:, :, 0])
    y.swapaxes(2, 3)[:, 1].mul_(3.0)
    return y


def test_views_in_any_order_of_memory_are_written_through():
    got, expected = narrowed(Dual(X, DX)), derivative(narrowed, (X,), (DX,))
    assert torch.equal(got.primal, narrowed(X))
    torch.testing.assert_close(got.tangent, expected, rtol=1e-12, atol=1e-12)


@torch.library.custom_op("metadcseg_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


twice.register_autograd(lambda context, gradient: 2 * gradient)


@pytest.mark.parametrize(
    "function",
    [
        twice,
        lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real,
        lambda x: torch.view_as_complex(x.reshape(2, 4, 18, 2)).abs(),
        lambda x: (x * 1.0).unsqueeze_(0),
    ],
    ids=["custom operation", "fft", "complex", "unsqueeze_"],
)
def test_what_would_lose_its_tangent_is_refused(function):
    with pytest.raises(NoForwardRule):
        function(Dual(X, DX))


class Plain(torch.autograd.Function):
    """Written as torch documents it since 2.0: without a context in ``forward``."""

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(context, inputs, output):
        pass

    @staticmethod
    def backward(context, gradient):
        return 2 * gradient


class WithContext(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return 2 * x

    @staticmethod
    def backward(context, gradient):
        return 2 * gradient


class Inherited(WithContext):
    pass


class Everything(torch.autograd.Function):
    """Takes its arguments unnamed."""

    @staticmethod
    def forward(*arguments):
        return 2 * arguments[1]


class Decorated(Plain):
    @staticmethod
    @torch.no_grad()
    def forward(x):
        return 2 * x


class InPart(Plain):
    forward = staticmethod(functools.partial(lambda factor, x: factor * x, 2))


class Object(Plain):
    class Doubling:
        def __call__(self, x):
            return 2 * x

    forward = staticmethod(Doubling())


@pytest.mark.parametrize("kind", [Plain, WithContext, Inherited, Everything, Decorated, InPart, Object])
@pytest.mark.parametrize("how", ["alone", "below other calls"])
def test_no_custom_function_passes_for_a_constant(kind, how):
    """Gradients are off inside it, which in a network means that nothing is to be learned there."""

    def doubled(x):
        return kind.apply(x)

    with pytest.raises(NoForwardRule, match=rf"autograd\.Function {kind.__name__}$"):
        doubled(Dual(X, DX)) if how == "alone" else nn.Sequential(*[Called(doubled)])(Dual(X, DX))


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_gradients_that_a_network_switches_off_are_no_custom_function():
    """Also where one and the same decorator of torch stands about a custom function (above) and a plain one."""

    @torch.no_grad()
    def scale(x):
        return x.sum()

    assert torch.equal(scale(Dual(X, DX)), X.sum())


@pytest.fixture
def kernels_of():
    """Have the rules look for torch's own kernels somewhere else."""
    with pytest.MonkeyPatch.context() as patch:

        def replace(where):
            kernel_of.cache_clear()
            patch.setattr(torch.ops, "aten", where)

        yield replace
    kernel_of.cache_clear()


NEEDS_A_KERNEL = {
    **{name: (ONE[name], 1) for name in ("relu", "relu in place", "leaky_relu", "leaky_relu in place")},
    **{name: (SEVERAL[name], 3) for name in ("group_norm", "batch_norm", "batch_norm at rest")},
}


class Nothing:
    """A release of torch that has no such kernel."""


class Others:
    """A release of torch whose kernels of these names want other arguments."""

    def __getattr__(self, name):
        return lambda: None


class Wrong:
    """A release of torch whose kernels of these names compute something else."""

    def __getattr__(self, name):
        return lambda first, *rest: (first * 3, first, first) if "norm" in name else first * 3


@pytest.mark.parametrize("without", [Nothing, Others, Wrong])
@pytest.mark.parametrize(("function", "count"), NEEDS_A_KERNEL.values(), ids=NEEDS_A_KERNEL.keys())
def test_without_torchs_own_kernels_its_forward_mode_does_them(kernels_of, without, function, count):
    values, tangents = (X, W, B)[:count], (DX, DW, DB)[:count]
    primal, expected = function(*values), derivative(function, values, tangents)
    kernels_of(without())
    got = function(*(Dual(value, tangent) for value, tangent in zip(values, tangents, strict=True)))
    assert torch.equal(got.primal, primal)
    torch.testing.assert_close(got.tangent, expected, rtol=1e-10, atol=1e-12)


def test_without_them_running_statistics_move_once(kernels_of):
    images, one, other = rand(2, 2, 6, 6), seeded(Noisy), seeded(Noisy)
    one(images)
    kernels_of(Nothing())
    jvp(other, images, direction(other), training_pass=True)
    for mine, usual in zip(other.buffers(), one.buffers(), strict=True):
        assert torch.equal(mine, usual)


@pytest.mark.parametrize("name", ["leaky_relu_backward", "native_group_norm", "native_batch_norm_backward"])
def test_this_torch_has_the_kernels(name):
    """If not, all is right but slower: tell those who wait."""
    assert kernel_of(name) is not None


def test_a_module_may_keep_its_parameters_elsewhere(monkeypatch):
    network, images = seeded(Noisy).eval(), rand(2, 2, 6, 6)
    expected = jvp(network, images, direction(network))[1].change
    monkeypatch.setattr(changes, "vars", lambda module: {}, raising=False)
    assert torch.equal(jvp(network, images, direction(network))[1].change, expected)


def test_a_direction_must_fit_the_parameters():
    network, images = seeded(Noisy).eval(), rand(2, 2, 6, 6)
    with pytest.raises(InputError, match=r"unknown parameter in a direction 'head\.wight'"):
        jvp(network, images, {"head.wight": W})[1]
    with pytest.raises(InputError, match=r"direction of head.bias must have the shape \(3\), got \(1,\)"):
        jvp(network, images, {"head.bias": rand(1)})[1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.zeros_like(X).copy_(x),
        lambda x: torch.zeros(2, 4, 6, 6, dtype=X.dtype).__setitem__(0, x[0]),
        lambda x: torch.add(x, 1.0, out=torch.empty_like(X)),
    ],
    ids=["copy_", "setitem", "out"],
)
def test_a_tensor_without_room_for_a_tangent_is_refused(function):
    with pytest.raises(NoForwardRule):
        function(Dual(X, DX))


def test_numbers_are_never_read_behind_the_back():
    with pytest.raises((NoForwardRule, RuntimeError)):
        torch._C._nn.gelu(Dual(X, DX).as_subclass(torch.Tensor))


class Noisy(nn.Module):
    """Dropout of three kinds, of which each draws its own mask."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
        self.norm, self.drop = nn.BatchNorm2d(6), nn.Dropout(0.5)

    def forward(self, images):
        features = F.dropout2d(F.alpha_dropout(self.drop(self.norm(self.first(images))), 0.3, True), 0.4)
        return Answer(self.head(features), features)


def direction(network):
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in trainable(network).items()
    }


def test_a_training_pass_that_carries_tangents_is_the_training_pass():
    images, one, other = rand(2, 2, 6, 6), seeded(Noisy), seeded(Noisy)
    v = direction(one)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        plain, state = one(images), torch.get_rng_state()
        torch.manual_seed(7)
        output, found = jvp(other, images, v, training_pass=True)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(7)
        alone = jvp(one, images, v)[1]
    assert type(output) is Answer
    for got, expected in zip(output, plain, strict=True):
        assert torch.equal(got, expected)
        assert type(got) is torch.Tensor
    assert torch.equal(found.logits, plain.logits)
    torch.testing.assert_close(found.change, alone.change, rtol=1e-10, atol=1e-12)
    output.logits.square().sum().backward()
    plain.logits.square().sum().backward()
    for mine, usual in zip(other.parameters(), one.parameters(), strict=True):
        assert torch.equal(mine.grad, usual.grad)
    for mine, usual in zip(other.buffers(), one.buffers(), strict=True):
        assert torch.equal(mine, usual)


def test_under_autocast_the_derivative_is_that_of_full_precision():
    images, network = rand(2, 2, 6, 6).float(), seeded(Noisy, dtype=torch.float32).eval()
    v = direction(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, found = jvp(network, images, v, training_pass=True)
    assert output.logits.dtype == torch.bfloat16
    assert torch.equal(found.change, jvp(network, images, v)[1].change)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 1), nn.Conv2d(1, 3, 1)

    def forward(self, images, edges):
        return Answer(self.first(images) * self.second(edges), images)


def test_a_network_may_take_several_inputs():
    network, inputs = seeded(TwoInputs), (rand(2, 2, 4, 4), rand(2, 1, 4, 4))
    v, values = direction(network), {name: value.detach() for name, value in trainable(network).items()}
    expected = derivative(
        lambda parameters: torch.func.functional_call(network, parameters, inputs).logits, (values,), (v,)
    )
    for found in (jvp(network, inputs, v, training_pass=True)[1], jvp(network, inputs, v)[1]):
        torch.testing.assert_close(found.change, expected, rtol=1e-12, atol=1e-12)


def test_parameters_left_out_stand_still():
    network, images = seeded(Noisy).eval(), rand(2, 2, 6, 6)
    v = direction(network)
    head = {name: value for name, value in v.items() if name.startswith("head")}
    still = {name: value if name in head else torch.zeros_like(value) for name, value in v.items()}
    got, expected = (jvp(network, images, vector)[1].change for vector in (head, still))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(jvp(network, images, {})[1].change, torch.zeros(2, 3, 6, 6, dtype=torch.float64))


class Recomputed(nn.Module):
    """Activations that are thrown away and computed again in the backward pass."""

    def __init__(self, again=True):
        super().__init__()
        self.again = again
        self.body = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.SiLU())
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, images):
        features = checkpoint(self.body, images, use_reentrant=False) if self.again else self.body(images)
        return Answer(self.head(features), features)


def test_recomputed_activations_change_nothing():
    images, found, gradients = rand(2, 2, 6, 6), [], []
    for again in (True, False):
        network = seeded(lambda again=again: Recomputed(again))
        output, change = jvp(network, images, direction(network), training_pass=True)
        found.append(change.change)
        gradients.append(torch.autograd.grad(output.logits.square().sum(), list(network.parameters())))
    assert torch.equal(*found)
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


class Sampled(nn.Module):
    def forward(self, features):
        grid = torch.zeros(len(features), 6, 6, 2, dtype=features.dtype)
        return F.grid_sample(features, grid, align_corners=False)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Sequential(nn.Conv2d(6, 6, 1))

    def forward(self, features):
        return checkpoint(self.inside, features, use_reentrant=True)


@pytest.mark.parametrize(
    ("layer", "operation"),
    [(Sampled, "grid_sampler_2d"), (Checkpointed, "autograd.Function CheckpointFunction")],
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_the_layer_that_cannot_is_named(layer, operation):
    def made():
        network = Noisy()
        network.norm = nn.Sequential(nn.BatchNorm2d(6), layer())
        return network

    network = seeded(made)
    for training_pass in (False, True):
        with pytest.raises(InputError, match=f"{operation}.* in its layer 'norm.1"):
            jvp(
                network,
                rand(2, 2, 6, 6),
                direction(network),
                mode="engine",
                training_pass=training_pass,
            )
    assert type(network.first.weight) is nn.Parameter


class Counting(nn.Module):
    """A layer without a rule of its own that keeps statistics of what it has seen."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
        self.norm = nn.InstanceNorm2d(6, track_running_stats=True)

    def forward(self, images):
        features = self.norm(self.first(images))
        return Answer(self.head(features), features)


def test_running_statistics_move_once_with_tangents_too():
    images, seen = rand(2, 2, 6, 6), []
    for tangents in (False, True):
        network = seeded(Counting)
        if tangents:
            jvp(network, images, direction(network), training_pass=True)
        else:
            network(images)
        seen.append(network.norm.running_mean)
    assert seen[0].any()
    assert torch.equal(*seen)
