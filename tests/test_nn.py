"""Modules: what they consist of, list, load, copy and print; containers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


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


def test_different_values_for_a_shared_parameter_are_a_mismatch() -> None:
    net = Net()
    state = {**net.state_dict(), "tied.weight": mg.zeros(3, 2)}
    with pytest.raises(RuntimeError, match=r"a\.weight and tied\.weight differ"):
        net.load_state_dict(state)
    net.load_state_dict(
        {**state, "a.weight": mg.zeros(3, 2), "again.weight": np.zeros((3, 2), "f")}
    )
    assert not net.a.weight.numpy().any()


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
