"""Modules: what they list, load and print; layers against NumPy and PyTorch; initial values."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


class Net(nn.Module):
    """A buffer of each kind, a shared parameter, a child used twice, a list and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.w = nn.Parameter(mg.ones(2))
        self.again = self.a
        self.tied = nn.Linear(2, 3, bias=False)
        self.tied.weight = self.a.weight
        self.register_buffer("mean", mg.zeros(3))
        self.register_buffer("scratch", mg.zeros(1), persistent=False)
        self.register_buffer("unset", None)
        self.rows = nn.ModuleList([nn.Tanh(), nn.Linear(3, 3)])
        self.named = nn.ModuleDict({"x": nn.Dropout(0.3)})

    def forward(self, x: Any) -> Any:
        return self.named["x"](self.rows[0](self.a(x * self.w) + self.mean))


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


# ---- what a module consists of ------------------------------------------------------------------


def test_lists_each_part_once_own_parts_first() -> None:
    net = Net()
    assert names(net.named_parameters()) == [
        "w", "a.weight", "a.bias", "rows.1.weight", "rows.1.bias",
    ]  # fmt: skip
    assert names(net.named_parameters(recurse=False)) == ["w"]
    assert names(net.named_parameters("net")) == ["net." + n for n in names(net.named_parameters())]
    assert names(net.named_buffers()) == ["mean", "scratch"]
    assert names(net.named_children()) == ["a", "tied", "rows", "named"]
    assert names(net.named_modules()) == [
        "",
        "a",
        "tied",
        "rows",
        "rows.0",
        "rows.1",
        "named",
        "named.x",
    ]
    assert len(list(net.parameters())) == 5
    assert len(list(net.modules())) == 8
    assert "again.weight" in names(net.named_parameters(remove_duplicate=False))
    assert list(net.parameters())[1].name == "a.weight"
    assert net.get_submodule("rows.1") is net.rows[1]
    with pytest.raises(AttributeError, match=r"rows\.2"):
        net.get_submodule("rows.2")


def test_parameters_are_leaves_and_results_are_tensors() -> None:
    p = nn.Parameter(mg.ones(2))
    assert p.requires_grad
    assert p.is_leaf
    assert type(p * 2) is mg.Tensor
    assert type(p.detach()) is mg.Tensor
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert not nn.Parameter(mg.ones(2), requires_grad=False).requires_grad
    base = mg.ones(2)
    shared = nn.Parameter(base)
    base.fill_(3.0)
    assert shared.tolist() == [3, 3]
    assert nn.Parameter(mg.zeros(2, 3).T).layout.strides is None
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter(mg.arange(3))
    with pytest.raises(TypeError, match="ndarray"):
        nn.Parameter(np.ones(2))


@pytest.mark.parametrize(
    ("name", "value"),
    [("w", mg.zeros(2)), ("a", mg.zeros(2)), ("mean", 3.0), ("w", 1.0), ("rows", [])],
)
def test_a_part_is_not_quietly_replaced(name: str, value: Any) -> None:
    net = Net()
    with pytest.raises(TypeError, match=f"Net.{name} is a "):
        setattr(net, name, value)
    setattr(net, name, None)
    assert not any(n == name or n.startswith(name + ".") for n in net.state_dict())


def test_names_of_parts_are_checked() -> None:
    net = Net()
    for name in ("", "x.y", "forward", "training"):
        for add in (net.register_buffer, net.register_parameter, net.add_module):
            with pytest.raises(KeyError):
                add(name, None)
    for add in (net.register_buffer, net.register_parameter, net.add_module):
        with pytest.raises(TypeError, match="int"):
            add("new", 3)
    with pytest.raises(KeyError, match="keys"):
        nn.ModuleDict({"keys": nn.Tanh()})


def test_parts_may_be_assigned_without_calling_super() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(1, 1)

    assert names(Bare().named_parameters()) == ["inner.weight", "inner.bias"]
    with pytest.raises(NotImplementedError, match="Bare defines no forward"):
        Bare()(1)


def test_train_eval_apply_freeze() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train().rows[1].training
    seen: list[Any] = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net"
    assert seen.count("Linear") == 3
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    assert not net.eval()(mg.ones(1, 2)).requires_grad


def test_zero_grad() -> None:
    net = nn.Linear(2, 2)
    net(mg.ones(1, 2)).sum().backward()
    g = net.weight.grad
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.tolist() == [[0, 0], [0, 0]]
    assert g.tolist() == [[0, 0], [0, 0]]
    net.zero_grad()
    assert net.weight.grad is None


def test_convert_keeps_the_parameters_themselves() -> None:
    net = Net()
    before = list(net.parameters())
    net(mg.ones(4, 2)).sum().backward()
    grads = [p.grad for p in before]
    net.register_buffer("count", mg.arange(2))
    values = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    assert net.double() is net
    assert all(p is q for p, q in zip(before, net.parameters()))
    for p, g in zip(before, grads):
        assert p.dtype == mg.float64
        assert p.requires_grad
        assert (p.grad is None) == (g is None)
        if g is not None:
            assert p.grad.dtype == mg.float64
            np.testing.assert_array_equal(p.grad.numpy(), g.numpy())
    assert net.mean.dtype == mg.float64
    assert net.count.dtype == mg.int64
    for k, v in net.float().state_dict().items():
        np.testing.assert_array_equal(v.numpy(), values[k])
    with pytest.raises(TypeError, match="int64"):
        net.to(mg.int64)


def test_backward_refuses_after_the_type_changed() -> None:
    net = Net()
    loss = (net.w * mg.ones(2, requires_grad=True)).sum()
    net.double()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_deepcopy_is_independent_and_keeps_sharing() -> None:
    net = Net()
    net(mg.ones(1, 2)).sum().backward()
    twin = copy.deepcopy(net)
    assert names(twin.named_parameters()) == names(net.named_parameters())
    assert twin.again is twin.a
    assert twin.tied.weight is twin.a.weight
    assert twin.a.weight is not net.a.weight
    with mg.no_grad():
        twin.w.fill_(9.0)
        twin.mean.fill_(9.0)
    assert net.w.tolist() == [1, 1]
    assert net.mean.tolist() == [0, 0, 0]
    assert twin.named["x"].p == 0.3


def test_repr() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (a): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (again): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (tied): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (rows): ModuleList(\n"
        "    (0): Tanh()\n"
        "    (1): Linear(in_features=3, out_features=3, bias=True)\n"
        "  )\n"
        "  (named): ModuleDict(\n"
        "    (x): Dropout(p=0.3)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Embedding(5, 2, padding_idx=-1)) == "Embedding(5, 2, padding_idx=4)"
    assert repr(nn.LayerNorm(3)) == "LayerNorm((3,), eps=1e-05, elementwise_affine=True)"
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nn.Sequential()) == "Sequential()"


# ---- state_dict ---------------------------------------------------------------------------------


def test_state_dict_round_trip() -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    assert list(state) == [
        "w", "mean", "a.weight", "a.bias", "again.weight", "again.bias", "tied.weight",
        "rows.1.weight", "rows.1.bias",
    ]  # fmt: skip
    assert not any(x.requires_grad for x in state.values())
    result = other.load_state_dict({k: v.numpy() for k, v in state.items()})
    assert result == ([], [])
    for k, v in other.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), state[k].numpy())
    assert other.tied.weight is other.a.weight
    state["w"].fill_(5.0)  # the same memory
    assert net.w.tolist() == [5, 5]
    assert other.w.tolist() == [1, 1]


def test_load_state_dict_lists_every_mismatch_and_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state: dict[str, Any] = {
        "0.weight": mg.zeros(3, 2),  # fits
        "0.bias": mg.zeros(4),
        "1.weight": mg.zeros(1, 3, dtype=mg.float64),
        "2.bias": mg.zeros(1),
        "1.extra": None,
    }
    with pytest.raises(RuntimeError) as e:
        net.load_state_dict(state)
    for problem in (
        "missing: 1.bias (float32 [1])",
        "unexpected: 2.bias",
        "unexpected: 1.extra",
        "shape: 0.bias [4], here [3]",
        "dtype: 1.weight float64, here float32",
    ):
        assert problem in str(e.value)
    with pytest.raises(RuntimeError) as e:
        net.load_state_dict(state, strict=False)
    assert "missing" not in str(e.value)
    for k, v in net.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[k])
    with pytest.raises(RuntimeError, match=r"no tensor: 0\.bias is a list"):
        net.load_state_dict({**net.state_dict(), "0.bias": [1, 2, 3]})
    result = net.load_state_dict({"0.weight": mg.zeros(3, 2), "x": mg.zeros(1)}, strict=False)
    assert result.missing_keys == ["0.bias", "1.weight", "1.bias"]
    assert result.unexpected_keys == ["x"]
    assert not net[0].weight.numpy().any()


def test_backward_refuses_after_loading() -> None:
    net = Net()
    loss = (net.w * mg.ones(2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


# ---- containers ---------------------------------------------------------------------------------


def test_sequential() -> None:
    a, b = nn.Linear(2, 3), nn.Tanh()
    net = nn.Sequential(a, b)
    x = mg.randn(4, 2)
    np.testing.assert_array_equal(net(x).numpy(), b(a(x)).numpy())
    assert net[0] is a
    assert net[-1] is b
    assert len(net[:1]) == 1
    assert list(net) == [a, b]
    net.append(nn.ReLU())
    net[1] = nn.Sigmoid()
    assert names(net.named_children()) == ["0", "1", "2"]
    with pytest.raises(IndexError, match="of 3"):
        net[3]
    named = nn.Sequential({"first": a, "second": b})
    assert names(named.named_children()) == ["first", "second"]
    assert named[1] is b
    np.testing.assert_array_equal(named(x).numpy(), b(a(x)).numpy())


def test_module_list_is_a_list() -> None:
    rng, model, rows = np.random.default_rng(0), [], nn.ModuleList()
    for _ in range(60):
        n, m = len(model), nn.Identity()
        what = rng.integers(4) if n else 0
        i = int(rng.integers(-n, n)) if n else 0
        if what == 0:
            model.append(m)
            rows.append(m)
        elif what == 1:
            model.insert(i, m)
            rows.insert(i, m)
        elif what == 2:
            del model[i]
            del rows[i]
        else:
            model[i] = m
            rows[i] = m
        assert list(rows) == model
        assert names(rows.named_children()) == [str(i) for i in range(len(model))]
    del rows[1:3]
    assert list(rows) == model[:1] + model[3:]
    assert list(rows[1:]) == model[3:]


def test_module_dict_is_a_dict() -> None:
    a, b = nn.Tanh(), nn.ReLU()
    d = nn.ModuleDict({"a": a})
    d["b"] = b
    assert list(d) == list(d.keys()) == ["a", "b"]
    assert list(d.values()) == [a, b]
    assert dict(d.items()) == {"a": a, "b": b}
    assert "a" in d
    assert len(d) == 2
    del d["a"]
    with pytest.raises(KeyError):
        d["a"]


# ---- layers -------------------------------------------------------------------------------------


def test_linear(dtype: str) -> None:
    layer = nn.Linear(3, 2, dtype=dtype)
    x = mg.randn(4, 5, 3, dtype=dtype)
    y = layer(x)
    want = x.numpy() @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-5)
    assert y.shape == (4, 5, 2)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(0, 2)(mg.zeros(4, 0)).shape == (4, 2)
    assert layer(x[0, 0]).shape == (2,)
    with pytest.raises(ValueError, match="in_features=3"):
        layer(mg.zeros(4, 2, dtype=dtype))


def test_embedding_padding_row_gets_no_gradient() -> None:
    table = nn.Embedding(5, 3, padding_idx=1)
    assert not table.weight.numpy()[1].any()
    index = mg.tensor([[0, 1], [-4, 4]])  # -4 is row 1, too
    y = table(index)
    np.testing.assert_array_equal(y.numpy(), table.weight.numpy()[[[0, 1], [1, 4]]])
    y.sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 0, 0, 1]
    with pytest.raises(IndexError, match="5"):
        table(mg.tensor([5]))
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(TypeError, match="int64"):
        table(mg.tensor([0.5]))
    frozen = nn.Embedding.from_pretrained(mg.ones(4, 2))
    assert not frozen.weight.requires_grad
    assert frozen(mg.tensor([3])).tolist() == [[1, 1]]
    assert mg.gradgradcheck(
        lambda w: F.embedding(index, w, 1) ** 2,
        (mg.randn(5, 3, dtype="float64", requires_grad=True),),
    )


def test_dropout() -> None:
    layer, x = nn.Dropout(0.25), mg.ones(100, 100, requires_grad=True)
    mg.manual_seed(3)
    y = layer(x)
    y.sum().backward()
    kept = y.numpy() != 0
    np.testing.assert_allclose(y.numpy()[kept], 4 / 3, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 1e4)
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    mg.manual_seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), y.numpy())
    assert layer.eval()(x) is x
    assert nn.Dropout(0)(x) is x
    assert not nn.Dropout(1)(x).numpy().any()
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="probability"):
            F.dropout(x, p)


def test_layer_norm_starts_normal() -> None:
    y = nn.LayerNorm((2, 3))(mg.randn(7, 2, 3) * 5 + 2).numpy().reshape(7, 6)
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(1), 1, rtol=1e-3)
    assert list(nn.LayerNorm(3, elementwise_affine=False).parameters()) == []
    assert names(nn.LayerNorm(3, bias=False).named_parameters()) == ["weight"]


def test_flatten_and_identity() -> None:
    x = mg.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Identity(1, anything=2)(x) is x


def test_one_hot() -> None:
    y = F.one_hot(mg.tensor([[0, 2], [1, 0]]))
    np.testing.assert_array_equal(y.numpy(), np.eye(3, dtype=int)[[[0, 2], [1, 0]]])
    assert y.dtype == mg.int64
    assert F.one_hot(mg.tensor(1), 4).tolist() == [0, 1, 0, 0]
    assert F.one_hot(mg.zeros(0).long(), 3).shape == (0, 3)
    for bad, n in (([3], 3), ([-1], 3)):
        with pytest.raises(ValueError, match="classes"):
            F.one_hot(mg.tensor(bad), n)
    with pytest.raises(ValueError, match="num_classes"):
        F.one_hot(mg.zeros(0).long())
    with pytest.raises(TypeError, match="int64"):
        F.one_hot(mg.zeros(3))


def test_bad_reduction() -> None:
    with pytest.raises(ValueError, match="reduction='avg'"):
        nn.MSELoss("avg")


# ---- PyTorch as the second oracle ---------------------------------------------------------------

X = np.random.default_rng(1).standard_normal((4, 5))
Y = np.random.default_rng(2).standard_normal((4, 5))
CLASSES = np.array([0, 4, -100, 2])
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("ReLU", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 2.0}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {}),
    ("LogSigmoid", {}),
    ("Softmax", {"dim": 0}),
    ("Softmax", {"dim": -1}),
    ("LogSoftmax", {"dim": 1}),
    ("Flatten", {}),
    ("Identity", {}),
    ("LayerNorm", {"normalized_shape": 5}),
    ("LayerNorm", {"normalized_shape": (4, 5), "eps": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_layers_are_pytorch_s(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    x = mg.tensor(X, requires_grad=True)
    t = torch.tensor(X, requires_grad=True)
    a, b = ours.double()(x), theirs.double()(t)
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
    (a * a).sum().backward()
    (b * b).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("MSELoss", Y, {}),
        ("L1Loss", Y, {}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {"pos_weight": np.arange(5.0)}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {"weight": np.arange(5.0)}),
        ("CrossEntropyLoss", CLASSES, {}),
        ("CrossEntropyLoss", CLASSES, {"ignore_index": 4}),
        ("CrossEntropyLoss", CLASSES, {"weight": np.arange(1.0, 6.0)}),
        ("NLLLoss", CLASSES, {}),
    ],
)
def test_losses_are_pytorch_s(
    name: str, target: Any, options: dict[str, Any], reduction: str
) -> None:
    torch = pytest.importorskip("torch")
    if "ignore_index" in options:
        target = np.where(target < 0, 1, target)

    def result(lib: Any, module: Any) -> tuple[Any, Any]:
        known = {k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        x = lib.tensor(X, requires_grad=True)
        loss = getattr(module, name)(reduction=reduction, **known)(x, lib.tensor(target))
        (loss * loss).sum().backward()
        return loss.detach().numpy(), x.grad.numpy()

    for a, b in zip(result(mg, nn), result(torch, torch.nn)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_pytorch_s_state_dict_loads() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Embedding(7, 4, padding_idx=0), torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)
    )
    ours = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 3), nn.LayerNorm(3))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    index = np.array([[1, 0, 6], [2, 0, 2]])
    a, b = ours(mg.tensor(index)), theirs(torch.tensor(index))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    (a**2).sum().backward()
    (b**2).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(
            p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name
        )


# ---- initial values -----------------------------------------------------------------------------

SHAPE = (300, 200)


def stats(
    f: Any, *args: Any, shape: Any = SHAPE, **options: Any
) -> tuple[float, float, float, float]:
    """(mean, standard deviation, minimum, maximum) of what f fills in."""
    x = mg.empty(*shape, dtype="float64")
    assert f(x, *args, **options) is x
    a = x.numpy()
    return a.mean(), a.std(), a.min(), a.max()


@pytest.mark.parametrize(
    ("f", "options", "std"),
    [
        ("xavier_normal_", {}, math.sqrt(2 / 500)),
        ("xavier_normal_", {"gain": 3.0}, 3 * math.sqrt(2 / 500)),
        ("kaiming_normal_", {}, math.sqrt(2 / 200)),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}, 5 / 3 / math.sqrt(300)),
        ("kaiming_normal_", {"a": 2.0}, math.sqrt(2 / 5 / 200)),
        ("normal_", {"mean": 0.0, "std": 0.5}, 0.5),
        ("orthogonal_", {"gain": 2.0}, 2 / math.sqrt(300)),
    ],
)
def test_init_normal(f: str, options: dict[str, Any], std: float) -> None:
    mg.manual_seed(0)
    mean, found, *_ = stats(getattr(nn.init, f), **options)
    assert abs(mean) < 5 * std / math.sqrt(math.prod(SHAPE))
    assert abs(found / std - 1) < 0.02


@pytest.mark.parametrize(
    ("f", "options", "low", "high"),
    [
        ("uniform_", {}, 0, 1),
        ("uniform_", {"a": -3, "b": 5}, -3, 5),
        ("xavier_uniform_", {}, -math.sqrt(6 / 500), math.sqrt(6 / 500)),
        ("kaiming_uniform_", {"a": math.sqrt(5)}, -1 / math.sqrt(200), 1 / math.sqrt(200)),
        ("kaiming_uniform_", {"nonlinearity": "relu"}, -math.sqrt(6 / 200), math.sqrt(6 / 200)),
    ],
)
def test_init_uniform(f: str, options: dict[str, Any], low: float, high: float) -> None:
    mg.manual_seed(0)
    mean, std, least, most = stats(getattr(nn.init, f), **options)
    width = high - low
    assert low <= least < low + width / 1000
    assert high - width / 1000 < most <= high
    assert abs(mean - (low + high) / 2) < 0.01 * width
    assert abs(std - width / math.sqrt(12)) < 0.01 * width


def test_init_constants_and_orthogonal() -> None:
    x = mg.empty(3, 4)
    assert not nn.init.zeros_(x).numpy().any()
    assert (nn.init.ones_(x).numpy() == 1).all()
    assert (nn.init.constant_(x, 2.5).numpy() == 2.5).all()
    np.testing.assert_array_equal(nn.init.eye_(x).numpy(), np.eye(3, 4))
    for shape in ((5, 3), (3, 5), (4, 4), (4, 2, 3)):
        q = nn.init.orthogonal_(mg.empty(*shape, dtype="float64")).numpy().reshape(shape[0], -1)
        small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    with pytest.raises(ValueError, match="matrix"):
        nn.init.eye_(mg.empty(3))
    for f in (nn.init.orthogonal_, nn.init.xavier_normal_, nn.init.kaiming_uniform_):
        with pytest.raises(ValueError, match="two dimensions"):
            f(mg.empty(3))


def test_trunc_normal() -> None:
    mg.manual_seed(0)
    mean, std, low, high = stats(nn.init.trunc_normal_)
    assert -2 <= low < -1.99
    assert 1.99 < high <= 2
    assert abs(mean) < 0.02
    assert abs(std - 0.8796) < 0.01  # of the normal distribution cut at ±2
    mean, std, low, high = stats(nn.init.trunc_normal_, 3.0, 0.1, 3.05, 4)
    assert low >= 3.05
    with pytest.raises(ValueError, match=r"at least 0\.001"):
        stats(nn.init.trunc_normal_, 0.0, 1.0, 5.0, 6.0)


def test_init_is_determined_by_the_seed_and_by_shape_and_type_alone() -> None:
    for f in ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_",
              "kaiming_uniform_", "kaiming_normal_", "orthogonal_"):  # fmt: skip
        results = []
        for x in (mg.empty(6, 4), nn.Parameter(mg.empty(6, 4)), mg.empty(4, 6).T):
            mg.manual_seed(7)
            results.append(getattr(nn.init, f)(x).detach().numpy())
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain(name: str) -> None:
    torch = pytest.importorskip("torch")
    for param in (None, 0.3) if name == "leaky_relu" else (None,):
        ours, theirs = (
            nn.init.calculate_gain(name, param),
            torch.nn.init.calculate_gain(name, param),
        )
        assert ours == pytest.approx(theirs, rel=1e-15)
    with pytest.raises(ValueError, match="swish"):
        nn.init.calculate_gain("swish")


@pytest.mark.parametrize(
    ("name", "args"), [("Linear", (200, 300)), ("Embedding", (300, 200)), ("LayerNorm", (200,))]
)
def test_default_distributions_are_pytorch_s(name: str, args: Any) -> None:
    torch = pytest.importorskip("torch")
    mg.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters()):
        a, b = np.sort(p.numpy().ravel()), np.sort(q.detach().numpy().ravel())
        assert a.shape == b.shape
        scale = max(np.abs(b).max(), 1e-9)  # the quantiles agree
        tolerance = 0.02 if a.size > 1000 else 0.2
        assert np.abs(a - b)[len(a) // 50 : -len(a) // 50].max() < tolerance * scale, key


def test_pad_sequence() -> None:
    pad = nn.utils.rnn.pad_sequence
    xs = [mg.randn(n, 2, requires_grad=True) for n in (3, 1, 0)]
    y = pad(xs, padding_value=7.0)
    assert y.shape == (3, 3, 2)
    for i, x in enumerate(xs):
        np.testing.assert_array_equal(y.numpy()[: len(x), i], x.numpy())
        assert (y.numpy()[len(x) :, i] == 7).all()
    np.testing.assert_array_equal(pad(xs, True, 7.0).numpy(), y.numpy().swapaxes(0, 1))
    y.sum().backward()
    assert (xs[0].grad.numpy() == 1).all()
    ids = pad([mg.tensor([1, 2]), mg.tensor([3])], batch_first=True, padding_value=-1)
    assert ids.tolist() == [[1, 2], [3, -1]]
    assert ids.dtype == mg.int64
    with pytest.raises(ValueError, match="at least one"):
        pad([])
    with pytest.raises(ValueError, match="first dimension only"):
        pad([mg.zeros(2, 3), mg.zeros(2, 4)])
