"""The examples run as a reader runs them, and what they print is true."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str) -> str:
    """What the example prints, in a process of its own, with one thread."""
    environment = {**os.environ, "MINIGRAD_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        capture_output=True, encoding="utf-8", timeout=300, env=environment, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def numbers(line: str) -> list[float]:
    """The numbers that are words of a line."""
    return [
        float(w) for w in re.findall(r"(?<!\S)[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?(?=[\s:;,%]|$)", line)
    ]


def test_each_has_a_test_and_says_what_to_learn() -> None:
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text("utf-8")
        assert "What to learn:" in text.split('"""')[1], path.name
        assert text.count("\n") < 120, path.name
        assert f"test_{path.stem}" in globals(), path.name


def test_bptt_by_hand() -> None:
    lines = run("bptt_by_hand").splitlines()
    terms = [numbers(line) for line in lines[1:7]]
    assert [t[:2] for t in terms] == [[1, 1], [2, 1], [2, 2], [3, 1], [3, 2], [3, 3]]
    for column, name in ((6, "w_x"), (7, "w_s")):
        (total,) = (line for line in lines if line.startswith(f"∂L/∂{name}"))
        by_hand, by_tape, difference = numbers(total)
        assert sum(t[column] for t in terms) == pytest.approx(by_hand, abs=5e-9)  # nine digits each
        assert by_hand == pytest.approx(by_tape, abs=1e-15)
        assert difference <= 1e-15
    assert [t[7] for t in (terms[0], terms[2], terms[5])] == [0, 0, 0]  # s_0 = 0


def test_vanishing() -> None:
    rows = [numbers(line) for line in run("vanishing").splitlines()]
    table = {int(row[0]): row[1:] for row in rows if len(row) == 6}
    assert list(table) == list(range(20, -1, -2))
    small, large, saturated, lstm, remembering = table[0]
    assert small == pytest.approx(0.5**20, rel=0.01)
    assert 0.95 * 1.1**20 < large <= 1.1**20
    assert saturated < 0.01
    assert lstm < 1e-3
    assert 0.5 < remembering < 20
    for k, row in table.items():  # the bound, at every step
        assert row[0] <= 0.5 ** (20 - k) * 1.001
        assert max(row[1:3]) <= 1.1 ** (20 - k) * 1.001


def test_adding_problem() -> None:
    lines = run("adding_problem").splitlines()
    assert numbers(lines[0])[-1] == pytest.approx(1 / 6, abs=5e-5)
    losses = [numbers(line)[1] for line in lines if line.startswith("step")]
    assert losses[0] > 0.1  # nothing learnt yet
    assert losses[-1] < 0.02
    loss = numbers(lines[-1])[0]
    assert loss < 0.02


def test_lstm_variants() -> None:
    lines = run("lstm_variants").splitlines()
    forms = ("plain ", "peephole ", "coupled ", "coupled, peephole ")
    weights, steps, right = zip(
        *(numbers(next(line for line in lines if line.startswith(form))) for form in forms)
    )
    gate, unit = 6 * (1 + 6 + 1), 6  # x, h and the bias; a peephole
    assert weights == (4 * gate, 4 * gate + 3 * unit, 3 * gate, 3 * gate + 2 * unit)
    assert max(steps[2:]) < 450  # coupled gates have learnt it by then ...
    assert min(right[2:]) > 90
    assert max(steps[2:]) < min(steps[:2])  # ... and before the others


def test_regularized() -> None:
    lines = run("regularized").splitlines()
    bound = min(numbers(lines[0].replace(",", " ")))
    (plain, *others) = (numbers(line.replace(")", "")) for line in lines[1:])
    assert plain[0] < 0.2 * bound  # learnt by heart ...
    assert plain[1] > 2 * bound
    for training, new, _ in others:
        assert training < new < plain[1]
    assert others[-1][1] < 1.5 * bound  # ... and not
    assert all(best > bound for *_, best in [plain, *others])


def test_own_op() -> None:
    lines = run("own_op").splitlines()
    assert lines[:2] == ["gradcheck: True", "gradgradcheck: True"]
    assert re.fullmatch(r"the wrong rule: .* is wrong in \d+ of 100 entries", lines[2])
    losses = [numbers(line)[1] for line in lines if line.startswith("step")]
    assert losses == sorted(losses, reverse=True)
    assert lines[-2] == "increasing: True"
    noisy, fitted = numbers(lines[-1])
    assert 0.02 < noisy < 0.06
    assert fitted < noisy / 4


def test_elman_context() -> None:
    lines = run("elman_context").splitlines()
    assert numbers(lines[0]) == [0.0, 0.0]  # to the bit
    losses = [numbers(line)[1] for line in lines if line.startswith("step")]
    assert losses[-1] < 0.18 < 0.24 < losses[0]  # a third of the bits can be known: 2/3 of 0.25
    first, second, xor = (numbers(line)[0] for line in lines[-3:])
    assert min(first, second) > 0.24
    assert xor < 0.02


def test_mlp_defects() -> None:
    lines = run("mlp_defects").splitlines()
    assert "[64, 90] does not end in in_features=80" in lines[0]
    assert "scores (9, 64)" in lines[1]
    known, elsewhere = (numbers(line) for line in lines[2:4])
    assert min(known) > 0.95
    assert elsewhere[0] < 0.05
    assert elsewhere[1] > 0.95
    counts = [numbers(line) for line in lines[4:7]]
    assert [c[2] for c in counts] == [counts[0][2]] * 3
    assert counts[2][1] > 90 * counts[0][1]
    (mlp, rnn), (shuffled, confused) = (numbers(line) for line in lines[7:])
    assert max(mlp, shuffled) < 0.005
    assert rnn < 0.005 < 0.02 < confused


def test_memory_kept() -> None:
    lines = run("memory_kept").splitlines()
    rows = {int(row[0]): row for row in map(numbers, lines[1:-1])}
    assert list(rows) == list(range(13))
    first, kept, forgotten = rows[0], rows[8], rows[9]
    assert kept[6] == first[6] > 0.6
    assert abs(forgotten[6]) < 1e-3
    elman, lstm = numbers(lines[-1])[-2:]
    assert elman < 0.05
    assert lstm > 0.999
    assert elman == pytest.approx(kept[3] / first[3], abs=1e-5)


def test_own_cell() -> None:
    lines = run("own_cell").splitlines()
    assert [line.split(":")[0] for line in lines] == ["MGU", "IndRNN", "SCRN"]
    for line in lines:
        assert "gradcheck True" in line
        first, last = numbers(line)
        assert first > 0.05
        assert last < 0.0104 / 4  # the variance of the mean of 8 numbers is 1/96


def test_patterns() -> None:
    shares = {line.split(":")[0]: numbers(line)[-1] for line in run("patterns").splitlines()}
    assert len(shares) == 5
    assert min(shares.values()) > 0.95


def test_lstm_vs_gru() -> None:
    lines = run("lstm_vs_gru").splitlines()
    words = {line[:40].strip(): line[40:].split() for line in lines}
    assert words["gates and candidate"] == ["i", "f", "g", "o", "r", "z", "n"]
    assert words["states"] == ["h", "c", "h"]
    values = {text: numbers(" ".join(rest)) for text, rest in words.items()}
    lstm, gru = (g * (64 * 128 + 128 * 128 + 128) for g in (4, 3))
    assert values["parameters, 64 inputs, 128 units"] == [lstm, gru]
    assert values["memory, kept"] == [0.5, 0.5]
    assert values["output meanwhile, the LSTM's o shut"] == [0, 0.5]
    assert values["memory, new added to old"] == [50.5, 1]
    assert values["memory, kept but replaced in step 25"] == [1, 1]
    assert values["kept: a short cut"] == [1, 1]
    assert values["gates half open"] == pytest.approx([2.0**-50] * 2, rel=1e-5)
    assert values["kept but replaced in step 25: cut off"] == [0, 0]


def test_clockwork() -> None:
    lines = run("clockwork", "--quick").splitlines()
    found = {line.split()[0]: numbers(line) for line in lines[2:5]}
    counts, learnt, continued = (dict(zip(found, column)) for column in zip(*found.values()))
    assert max(counts.values()) < 1.05 * min(counts.values())
    assert learnt["CW-RNN"] < 0.5 < 0.9 < learnt["SRN"] < 1.1
    assert learnt["CW-RNN"] < learnt["LSTM"]
    assert continued["CW-RNN"] < 0.5
    assert lines[5] == "CW-RNN learns best, CW-RNN can go on"


def test_rtrl() -> None:
    table = [numbers(line) for line in run("rtrl", "--quick").splitlines()[2:]]
    assert [row[:2] for row in table] == [[32, 100], [48, 100], [32, 1000]]
    bptt, rtrl, snap = ([row[k] for row in table] for k in (4, 6, 8))  # kilobytes kept
    assert bptt[2] > 8 * bptt[0]  # grows with T
    for row, kept, masked in zip(table, rtrl, snap):
        n, _, size = row[:3]
        assert kept == pytest.approx(2 * n * size * 4 / 1024, rel=0.1)  # n P numbers for h and c
        assert masked == pytest.approx(2 * size * 4 / 1024, rel=0.2)


def test_rtrl_approximate() -> None:
    lines = run("rtrl_approximate", "--quick").splitlines()
    assert len(lines) == 5
    for line in lines[2:]:
        difference, snap, one, some, many = numbers(line)
        assert difference < 1e-12
        assert snap > 0.7
        assert 0 < one < some < many
        assert many > 0.9


def passes(line: str) -> float:
    """How many it took, infinity for "> 30"."""
    return math.inf if "> " in line else numbers(line.rpartition(":")[2])[0]


def test_ekf() -> None:
    lines = run("ekf", "--quick").splitlines()[1:]
    gekf, *_, slow, fast = (passes(line) for line in lines)
    assert gekf <= 4
    assert min(slow, fast) > 5 * gekf


def test_ekf_reber() -> None:
    ekf, adam = (numbers(line)[1] for line in run("ekf_reber", "--quick").splitlines()[1:])
    assert ekf <= 3
    assert adam >= 3 * ekf


def test_narma10() -> None:
    lines = [numbers(line) for line in run("narma10", "--quick").splitlines()[1:]]
    assert [line[0] for line in lines] == [50, 100]
    medians = [line[1] for line in lines]
    assert medians == sorted(medians, reverse=True)
    assert medians[-1] < 0.35


def test_mackey_glass() -> None:
    lines = [numbers(line) for line in run("mackey_glass", "--quick").splitlines()[1:]]
    assert [line[0] for line in lines] == [100, 400, 1000]
    assert lines[0][1] < -0.5
    assert lines[1][1] < -2.5
    assert lines[2][1] == -4.2


def test_gradient_flow() -> None:
    text = run("gradient_flow")
    tables = {}
    for part in text.strip().split("\n\n")[1:]:
        lines = part.splitlines()
        name, right = re.fullmatch(r"(\w+): ([\d.]+)% of 500 sequences right", lines[0]).groups()
        assert float(right) > 95
        rows = [line.replace("*", "").split() for line in lines[3:]]
        tables[name] = {int(row[0]): [float(v) for v in row[-3:]] for row in rows}
    for name in ("LSTM", "GRU"):
        table = tables[name]
        (_, before, _), (state, mark, _), (after, _, _) = (table[t] for t in (21, 20, 19))
        assert before > 0.7 * state  # the direct path brings it to the latest mark
        assert mark < 0.3 * state  # and ends there
        assert after < 0.5 * state
        assert state > 1e-3
    assert tables["RNN"][20][0] < 1e-9


def test_clipping() -> None:
    rows = [line for line in run("clipping").splitlines() if re.match(r" +\d ", line)]
    assert len(rows) == 5
    for row in rows:
        steps = re.search(r"not finite after (\d+) steps", row)
        assert steps
        assert int(steps[1]) < 1500
        loss, fraction, norm = map(float, row.split()[-3:])
        assert loss < 0.8
        assert 0.3 < fraction <= 1
        assert norm < 10


def test_memory_tasks() -> None:
    lines = run("memory_tasks", "1").splitlines()
    table = {line.split()[0]: list(map(int, re.findall(r"(\d+)% \(", line))) for line in lines[3:]}
    assert table.keys() == {"adding", "order", "copy", "counting"}
    for task, (elman, lstm, gru) in table.items():
        assert elman < 75
        assert lstm > 80
        assert gru < 75 if task == "counting" else gru > 80


def test_ctc() -> None:
    lines = run("ctc").splitlines()
    losses = [numbers(line)[1] for line in lines if line.startswith("step")]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 4
    assert losses[-1] < 0.4
    greedy, beam = (numbers(line)[-1] for line in lines if "label error rate" in line)
    assert max(greedy, beam) < 0.1
    frames, read, said = re.findall(
        r"frames: ([-1-6]+)\nread: +([1-6 ]+?)   said: ([1-6 ]+)", "\n".join(lines)
    )[0]
    merged = re.sub(r"(.)\1*", r"\1", frames).replace("-", "")
    assert merged == read.replace(" ", "")
    assert len(said.split()) >= 3


def test_crf_tagger() -> None:
    lines = run("crf_tagger").splitlines()
    (loss, right, broken), (loss_crf, right_crf, broken_crf) = (
        [float(n) for n in re.findall(r"(\d+(?:\.\d+)?)[,% ]", line.split(":")[1])]
        for line in lines[:2]
    )
    assert loss_crf < loss - 1
    assert right_crf > right + 3
    assert broken > 50
    assert broken_crf == 0
    transitions = [float(n) for n in re.findall(r"-?\d+\.\d+", lines[2])]
    assert len(transitions) == 9
    assert min(transitions) == transitions[2]  # from O to I


def test_lag_sweep() -> None:
    lines = run("lag_sweep", "1").splitlines()
    assert numbers(lines[2].replace("lag", "")) == [2, 5, 10, 20, 40, 80]
    table = {line[:14].strip(): numbers(line[14:]) for line in lines[3:]}
    assert table["Elman, SGD"] == [1, 1, 1, 0, 0, 0]
    assert table["Elman, Adam"][:3] == [1, 1, 1]
    for name in ("LSTM", "GRU", "clockwork"):
        assert table[name][:5] == [1, 1, 1, 1, 1]


def test_anatomy() -> None:
    lines = run("anatomy").splitlines()
    assert numbers(lines[0])[-1] < 1e-12
    rows = [numbers(line) for line in lines[4:]]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 5, 8, 12, 16, 20, 23]
    for lag, _, norm, product, bound in rows:
        assert norm <= 1.001 * product <= 1.002 * bound
        assert bound == pytest.approx(0.9**lag, rel=0.01)
    assert rows[0][1] > 100 * rows[-2][1]  # shares: most of the gradient is near the diagonal
