"""Reber's grammars: the strings, what may follow, and the arrays made of them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minigrad import data

#: the same languages as regular expressions
REBER = r"B(TS*X(XT*VP)*(S|XT*VV)|PT*V(PXT*V)*(V|PS))E"
EMBEDDED = rf"B(T{REBER}T|P{REBER}P)E"


@pytest.mark.parametrize(("embedded", "expression"), [(False, REBER), (True, EMBEDDED)])
def test_samples_are_those_of_the_regular_expression(embedded: bool, expression: str) -> None:
    grammar = data.ReberGrammar(embedded)
    words = grammar.sample(400, seed=0)
    assert all(re.fullmatch(expression, word) for word in words)
    assert len(set(words)) > 40
    rng = np.random.default_rng(0)
    for word in words:  # and `legal` agrees on words with one symbol changed
        i = int(rng.integers(len(word)))
        other = word[:i] + "BTPSXVE"[int(rng.integers(7))] + word[i + 1 :]
        assert grammar.legal(other) == bool(re.fullmatch(expression, other))
        assert not grammar.legal(word[:-1])


def test_forks_are_fair() -> None:
    words = data.ReberGrammar(embedded=True).sample(2000, seed=1)
    assert 0.45 < np.mean([word[1] == "T" for word in words]) < 0.55
    assert all(word[1] == word[-2] for word in words)


def test_what_may_follow() -> None:
    plain, embedded = data.ReberGrammar(), data.ReberGrammar(embedded=True)
    assert plain.following("") == "B"
    assert plain.following("BPVP") == "XS"
    assert plain.following("BTXSE") == ""
    assert embedded.following("BPBTXSE") == "P"
    with pytest.raises(ValueError, match="begins with 'BX'"):
        plain.following("BXSE")


def test_samples_up_to_a_length() -> None:
    grammar = data.ReberGrammar()
    assert max(map(len, grammar.sample(200, seed=2))) > 8
    assert max(map(len, grammar.sample(200, seed=2, longest=8))) <= 8
    assert grammar.sample(5, seed=3) == grammar.sample(5, seed=3)
    with pytest.raises(ValueError, match="5 symbols"):
        grammar.sample(1, seed=0, longest=4)


def test_arrays() -> None:
    grammar = data.ReberGrammar()
    words = ["BTXSE", "BPVPSE"]
    x, target, possible, lengths = grammar.arrays(words)
    assert x.shape == target.shape == possible.shape == (5, 2, 7)
    assert lengths.tolist() == [4, 5]
    for n, word in enumerate(words):
        for a, text in ((x, word[:-1]), (target, word[1:])):
            found = a.numpy()[: lengths[n], n]
            assert "".join("BTPSXVE"[i] for i in found.argmax(1)) == text
            assert (found.sum(1) == 1).all()
    assert (x.numpy()[4, 0] == 0).all()
    assert (possible.numpy() >= target.numpy()).all()
    assert possible.numpy()[2, 0].tolist() == [0, 0, 0, 1, 1, 0, 0]  # after BTX: X or S
    assert grammar.arrays([])[0].shape == (0, 0, 7)
