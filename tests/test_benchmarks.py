"""The benchmarks' own arithmetic; no test asserts a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import minigrad

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from benchmarks import readme  # noqa: E402
from benchmarks.recurrent.cases import Case, same  # noqa: E402

# ---- README's table ------------------------------------------------------------------------------


def document(*rows: dict[str, Any], isa: str = "avx2") -> dict[str, Any]:
    environment = {
        "date": "2026-01-02T03:04:05+00:00", "commit": "abc", "cpu": "A CPU, cpu family 6",
        "cores": 2, "isa": isa, "torch": "2.13.0+cpu", "system": "left out",
    }  # fmt: skip
    return {"environment": environment, "rows": list(rows), "facts": {}}


def row(part: str, case: str, threads: int, **medians: float) -> dict[str, Any]:
    ratios = {peer: {"min": 9.0, "median": m} for peer, m in medians.items()}
    return {"part": part, "case": case, "threads": threads, "ratios": ratios, "targets": {}}


def test_the_table_is_made_of_the_medians_of_the_rows_that_match() -> None:
    kept = readme.compact(
        [
            document(
                row("recurrent.lstm", "LSTM 50,1,32,32,1", 1, torch=0.09876, jax=0.5),
                row("recurrent.lstm", "LSTM 50,1,32,32,1", 2, torch=0.1),
                row("recurrent.lstm", "LSTM 100,32,64,128,1", 1, torch=0.7),
                row("recurrent.lstm", "LSTM 100,32,128,256,2", 1, torch=0.6),
                row("elementwise", "exp 1e5", 1, torch=0.5),
            ),
            document(row("optim", "Adam, 8,448 parameters", 1, torch=0.5, fused=0.25)),
        ]
    )
    assert [r["part"] for r in kept["rows"]] == ["recurrent.lstm"] * 4 + ["optim"]
    head, *table = readme.block(kept).split("\n\n")[1].splitlines()
    assert head == "| | 1 thread | 2 threads |"
    assert table[1:] == [
        "| LSTM, T=50, batch 1, 32 units | 0.099 | 0.10 |",
        f"| LSTM, {list(readme.CLASSES)[2]} | 0.60 … 0.70 |  |",
        "| a step of Adam, 8 thousand … 1.6 million parameters | 0.50 |  |",
        "| the same, against PyTorch's fused Adam | 0.25 |  |",
    ]


def test_files_of_different_machines_do_not_make_a_table() -> None:
    other = document()
    other["environment"]["cpu"] = "Another"
    with pytest.raises(ValueError, match="different machines"):
        readme.compact([document(), other])


def test_another_instruction_set_has_columns_of_its_own() -> None:
    case = "recurrent.lstm", "LSTM 50,1,32,32,1"
    kept = readme.compact(
        [
            document(row(*case, 1, torch=0.1), row(*case, 2, torch=0.2), isa="avx512"),
            document(row(*case, 1, torch=0.3), isa="avx2"),
        ]
    )
    head, _, line = readme.block(kept).split("\n\n")[1].splitlines()
    assert head == "| | 1 thread | 2 threads | 1 thread, avx2 only |"
    assert line == "| LSTM, T=50, batch 1, 32 units | 0.10 | 0.20 | 0.30 |"


def test_readme_holds_the_table_of_the_numbers_that_are_kept() -> None:
    text = readme.README.read_text("utf-8")
    kept = json.loads(readme.KEPT.read_text("utf-8"))
    assert readme.replaced(text, kept) == text, "run python -m benchmarks.readme FILE"


# ---- what is timed (in the environment with PyTorch) ----------------------------------------------


@pytest.mark.parametrize("size", [(6, 3, 5, 4, 1), (5, 2, 3, 4, 2), (5, 2, 3, 4, 2, True)])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_pytorch_numpy_and_minigrad_compute_the_same(cell: str, size: Any) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.recurrent import bptt, libraries

    case = Case(cell, *size)
    ours = libraries.Step(minigrad, case).results()
    for step in (libraries.Step(torch, case), bptt.Step(case)):
        same(ours, libraries.translated(case, step.results()), cell)
    wrong = libraries.translated(case, bptt.Step(case).results())
    wrong["y"] = wrong["y"] * 1.001
    with pytest.raises(AssertionError, match=cell):
        same(ours, wrong, cell)


def test_pytorch_rows_are_judged_by_minimum_and_median() -> None:
    pytest.importorskip("torch")
    from benchmarks import report
    from benchmarks.harness import Row

    times = {"minigrad": [1.0, 2.0, 9.0], "torch": [2.0, 4.0, 5.0], "jax": [1.0, 4.0, 5.0]}
    one = Row("part", "case", 1, times, {"torch": 0.5, "jax": 0.6})
    assert one.ratios("torch") == (0.5, 0.5)
    assert one.verdicts() == {"torch": "met", "jax": "unclear"}
    assert report.verdict(one) == "unclear jax"
    two = Row("part", "case", 1, times, {"torch": 0.4})
    assert report.count([one, two]) == "1 of 3 targets met, 1 unclear (minima and medians disagree)"
    assert "case, 1 thread(s): 0.5 × torch for ≤ 0.4" in report.missed([one, two])
    line = report.table([one, two]).splitlines()[1]
    assert "≤ 0.5 torch, ≤ 0.6 jax" in line


def test_pytorch_rows_are_not_judged_when_its_threads_had_to_wait() -> None:
    pytest.importorskip("torch")
    from benchmarks.harness import QUICK, Bench, Row

    one = Row("part", "case", 1, {"minigrad": [1.0], "torch": [1.0]}, {"torch": 0.5})
    bench = Bench([1, 2], quick=True, budget=QUICK, rows=[one])
    for seconds, verdicts in ((1.1, {"torch": "MISSED"}), (9.0, {})):
        two = Row("part", "case", 2, {"minigrad": [1.0], "torch": [seconds]}, {"torch": 0.5})
        bench.doubt(two)
        assert two.verdicts() == verdicts


def test_flops_are_those_of_the_products() -> None:
    # z: 2 T B (I + H) 4H; dW and dU the same; dh: 2 T B H 4H; the second layer has dx, too
    n = 2 * 10 * 3 * 4 * 7
    assert Case("LSTM", 10, 3, 5, 7).flops() == n * (12 + 12 + 7)
    assert Case("LSTM", 10, 3, 5, 7, 2).flops() == n * (12 + 12 + 7) + n * (14 + 14 + 7 + 7)
