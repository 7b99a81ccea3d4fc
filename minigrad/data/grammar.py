"""Reber's grammar, and the embedded one: strings whose end asks for what was at their beginning.

    B, then  T S* X  or  P T* V            (each symbol leads to a node of the graph `_REBER`)
    after T S* X:  S E, or X and then T* V as after P
    after   T* V:  V E, or P and then S E or X T* V as after T S* X

A. Reber, Implicit Learning of Artificial Grammars, 1967.  The embedded grammar, with which
S. Hochreiter and J. Schmidhuber (Long Short-Term Memory, 1997) begin, is B, then T or P, then a whole
string of Reber's, then the same T or P again, then E: who predicts the last but one symbol must have
kept the second one through all of the string in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..ops.create import from_numpy

SYMBOLS = "BTPSXVE"

#: node: {symbol: next node}; the end is where there is no way out
_REBER: dict[int, dict[str, int]] = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
    7: {},
}


def _embedded() -> dict[int, dict[str, int]]:
    """Two copies of the grammar, one of which remembers T, the other P."""
    nodes: dict[int, dict[str, int]] = {0: {"B": 1}, 1: {"T": 10, "P": 30}, 2: {"E": 3}, 3: {}}
    for symbol, base in (("T", 10), ("P", 30)):
        for node, ways in _REBER.items():
            nodes[base + node] = {s: base + to for s, to in ways.items()} or {symbol: 2}
    return nodes


class ReberGrammar:
    """Strings of Reber's grammar, or of the embedded one (embedded=True).

    >>> from minigrad import data
    >>> grammar = data.ReberGrammar(embedded=True)
    >>> grammar.legal("BTBPVVETE"), grammar.legal("BTBPVVEPE")
    (True, False)
    >>> grammar.following("BT"), grammar.following("BTBPVVE")
    ('B', 'T')
    >>> words = grammar.sample(3, seed=0)
    >>> all(grammar.legal(word) for word in words)
    True
    """

    symbols = SYMBOLS

    def __init__(self, embedded: bool = False) -> None:
        self.embedded = embedded
        self.nodes = _embedded() if embedded else _REBER

    def sample(self, count: int, seed: int, longest: int | None = None) -> list[str]:
        """`count` random strings: at each fork either way is as likely.

        longest: longer ones are drawn again.
        """
        rng = np.random.default_rng(seed)
        shortest = 9 if self.embedded else 5
        if longest is not None and longest < shortest:
            raise ValueError(f"longest={longest}: the shortest strings have {shortest} symbols")
        words: list[str] = []
        while len(words) < count:
            word, node = "", 0
            while ways := self.nodes[node]:
                symbol = list(ways)[int(rng.integers(len(ways)))]
                word, node = word + symbol, ways[symbol]
            if longest is None or len(word) <= longest:
                words.append(word)
        return words

    def following(self, prefix: str) -> str:
        """The symbols that may come after `prefix`; none after the end.  ValueError: no such prefix."""
        node = 0
        for i, symbol in enumerate(prefix):
            if symbol not in self.nodes[node]:
                raise ValueError(
                    f"{prefix!r}: no string of the grammar begins with {prefix[: i + 1]!r}"
                )
            node = self.nodes[node][symbol]
        return "".join(self.nodes[node])

    def legal(self, word: str) -> bool:
        """Whether `word` is a whole string of the grammar."""
        try:
            return not self.following(word)
        except ValueError:
            return False

    def arrays(self, words: Sequence[str], dtype: Any = None) -> tuple[Tensor, Tensor, Tensor, Any]:
        """The task of predicting the next symbol, time first, for strings of different lengths.

            x [T, N, 7]        each symbol but the last, as 0 and 1
            target [T, N, 7]   the symbol that came next, likewise
            possible [T, N, 7] all that may come next; a perfect prediction is above 0 just there
            lengths [N]        how many steps each string has; all is 0 beyond

        The order of the 7 symbols is that of `symbols`.
        """
        T = max((len(word) - 1 for word in words), default=0)
        x, target, possible = np.zeros((3, T, len(words), len(SYMBOLS)), dtype or np.float32)
        for n, word in enumerate(words):
            for t, (symbol, after) in enumerate(zip(word, word[1:])):
                x[t, n, SYMBOLS.index(symbol)] = 1
                target[t, n, SYMBOLS.index(after)] = 1
                for s in self.following(word[: t + 1]):
                    possible[t, n, SYMBOLS.index(s)] = 1
        lengths = np.array([len(word) - 1 for word in words], np.int64)
        return from_numpy(x), from_numpy(target), from_numpy(possible), lengths
