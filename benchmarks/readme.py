"""The table of speed in README.md, from what the benchmarks wrote: `python -m benchmarks.readme FILE …`.

Several files: parts that were run one by one, or with another instruction set, on the same machine;
the instruction set of the first is the one meant where none is named.  What the table needs of them is
kept in docs/speed.json, from which a test makes the table again.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
README, KEPT = ROOT / "README.md", ROOT / "docs" / "speed.json"
BEGIN, END = "<!-- speed: made by benchmarks/readme.py -->", "<!-- /speed -->"
ENVIRONMENT = ("date", "commit", "cpu", "cores", "isa", "torch")


class Line(NamedTuple):
    """The rows of a part whose case matches, as the range of their ratios to a peer."""

    text: str
    part: str
    case: str = ""
    peer: str = "torch"


CLASSES = {
    "T=50, batch 1, 32 units": " 50,1,",
    "T=50, batch 16, 64 units": " 50,16,",
    "T=100, batch 32, 128 and 256 units, one and two layers, one and two directions": " 100,32,",
    "512 … 1024 units": " (35,20|100,64),",
}
LINES = (
    *(
        Line(f"{cell}, {text}", f"recurrent.{cell.lower()}", case)
        for cell in ("LSTM", "GRU", "RNN")
        for text, case in CLASSES.items()
    ),
    Line(
        "LSTM, 128 … 1024 units, with glibc told to keep PyTorch's memory",
        "recurrent.lstm",
        " (100,32|35,20|100,64),",
        "torch kept",
    ),
    Line("LSTM, T=1000 and T=10 000, batch 16, 128 units", "recurrent.long", "^LSTM"),
    Line(
        "LSTM, sequences of different lengths, against PyTorch's packed sequence",
        "recurrent.lengths",
        peer="torch, packed",
    ),
    *(
        Line(f"{cell}, T=50, batch 1, 32 units, with clipping and Adam", "recurrent.adam", cell)
        for cell in ("LSTM", "GRU", "RNN")
    ),
    Line("a training step of a character model, LSTM 2×256", "recurrent.char"),
    Line("the character model of `minigrad train`, LSTM 1×256", "char"),
    *(
        Line(f"streaming: one step of an LSTM cell, {n} units", "recurrent.streaming", f"H={n}$")
        for n in (32, 128, 512)
    ),
    Line("peak memory of an LSTM over 10 000 steps", "recurrent.memory"),
    Line(
        "clockwork RNN, against `nn.RNN` here, 256 units",
        "recurrent.clockwork",
        " 256,32,.*,256,.* 8$",
        "nn.RNN",
    ),
    Line("clockwork RNN, nine groups, 288 and 576 units", "recurrent.clockwork", " 256$", "nn.RNN"),
    Line(
        "echo state network, 1000 units, against reservoirpy",
        "recurrent.reservoir",
        " 1%",
        "reservoirpy",
    ),
    Line("CTC, and the likelihood of a linear-chain CRF", "labels"),
    Line("100 small ops in a chain (8×8), forward", "small_ops", ": forward$"),
    Line("the same, forward and backward", "small_ops", "backward$"),
    Line("float32 matrix products, 32² … 1024² and (B×H)·(H×4H)", "gemm", "^float32"),
    Line("a step of Adam, 8 thousand … 1.6 million parameters", "optim", "^Adam,"),
    Line("the same, against PyTorch's fused Adam", "optim", "^Adam,", "fused"),
)


def compact(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """What the table needs: machines and medians.  ValueError where machines differ."""
    environments = [{k: d["environment"][k] for k in ENVIRONMENT} for d in documents]
    if len({(e["cpu"], e["torch"]) for e in environments}) != 1:
        raise ValueError("the files are from different machines or PyTorches")
    rows = [
        {
            "part": row["part"],
            "case": row["case"],
            "isa": document["environment"]["isa"],
            "threads": row["threads"],
            "ratios": {peer: round(r["median"], 4) for peer, r in row["ratios"].items()},
        }
        for document in documents
        for row in document["rows"]
        if any(matches(line, row) for line in LINES)
    ]
    return {"environments": environments, "rows": rows}


def matches(line: Line, row: dict[str, Any]) -> bool:
    """Whether the line is about the row."""
    return (
        row["part"] == line.part
        and bool(re.search(line.case, row["case"]))
        and line.peer in row["ratios"]
    )


def span(ratios: list[float]) -> str:
    """From the smallest to the largest, two digits."""
    ends = [f"{r:#.2g}" for r in (min(ratios), max(ratios))] if ratios else []
    return " … ".join(dict.fromkeys(ends))


def block(kept: dict[str, Any]) -> str:
    """What stands between the marks in README.md; a line without numbers is left out."""
    environments = kept["environments"]
    one = environments[0]
    commits = ", ".join(dict.fromkeys(e["commit"] for e in environments))
    isas = list(dict.fromkeys(row["isa"] for row in kept["rows"]))
    columns = [
        (isa, n)
        for isa in isas
        for n in sorted({row["threads"] for row in kept["rows"] if row["isa"] == isa})
    ]
    heads = [
        f"{n} thread" + "s" * (n > 1) + f", {isa} only" * (isa != isas[0]) for isa, n in columns
    ]
    where = f"{one['cpu'].split(',')[0]}, {one['cores']} cores, {one['isa']}"
    lines = [
        f"On {where}, as minigrad's time divided by that of PyTorch {one['torch'].split('+')[0]}",
        f"(medians; {one['date'][:10]}, {commits}):",
        "",
        "| " + " | ".join(["", *heads]).lstrip() + " |",
        "|---" * (1 + len(heads)) + "|",
    ]
    for line in LINES:
        rows = [row for row in kept["rows"] if matches(line, row)]
        if rows:
            cells = [
                span([r["ratios"][line.peer] for r in rows if (r["isa"], r["threads"]) == column])
                for column in columns
            ]
            lines.append("| " + " | ".join([line.text, *cells]) + " |")
    return "\n".join(line.rstrip() for line in lines)


def replaced(text: str, kept: dict[str, Any]) -> str:
    """README's text with the block between its marks."""
    before, rest = text.split(BEGIN + "\n")
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{block(kept)}\n{END}{after}"


def main(files: list[str]) -> None:
    """Rewrite docs/speed.json and README.md."""
    if not files:
        sys.exit("usage: python -m benchmarks.readme FILE.json …   (from python -m benchmarks)")
    kept = compact([json.loads(Path(file).read_text("utf-8")) for file in files])
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in kept["rows"])
    machines = json.dumps(kept["environments"])
    KEPT.write_text(f'{{"environments": {machines},\n "rows": [\n{rows}\n]}}\n', "utf-8")
    README.write_text(replaced(README.read_text("utf-8"), kept), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
