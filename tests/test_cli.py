"""The main job, from the command line: train, resume, sample, score, and every error."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import checkpoint, commands, report
from minigrad.__main__ import main as run_module
from minigrad.cli import main
from minigrad.data.text import Vocabulary
from minigrad.model import choose, sample, score
from minigrad.options import Options
from minigrad.train import Run, Watcher, rate_at, train

TEXT = "the quick brown fox jumps over the lazy dog; naïve señor\n" * 40
TINY = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--length", "10", "--every", "5"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a text in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a tiny model."""
    folder = tmp_path_factory.mktemp("model")
    text, path = folder / "text", folder / "model.npz"
    text.write_text(TEXT, encoding="utf-8")
    command = ["train", str(text), *TINY, "--steps", "20", "--checkpoint", str(path), "--quiet"]
    assert main(command) == 0
    return path.read_bytes()


@pytest.fixture
def trained(place: Path, model: bytes) -> Path:
    """That checkpoint, in the working directory."""
    (place / "model.npz").write_bytes(model)
    return place / "model.npz"


def files(place: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()}


# ---- train ---------------------------------------------------------------------------------------


def test_training_shows_progress_saves_and_ends_with_a_table(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "text", *TINY, "--steps", "12", "--checkpoint", "m.npz"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.findall(r"^step (\d+) of 12", out, re.MULTILINE) == ["5", "10", "12"]
    for words in (
        f"{len(TEXT):,} characters", "parameters", "bits per character", "characters per second",
        "thread", "minigrad sample m.npz", "--resume", "loss curve",
    ):  # fmt: skip
        assert words in out
    saved = checkpoint.read(place / "m.npz")
    last = np.mean(saved["run"]["losses"][-5:])
    assert f"step 12 of 12: training {last:.3f}" in out  # the same mean as in the table
    assert re.search(rf"training loss +{last:.4f} .*mean of the last 5 steps", out)
    assert len(saved["run"]["losses"]) == 12
    assert saved["run"]["losses"][-1] < saved["run"]["losses"][0]


@pytest.mark.usefixtures("place")
def test_quiet_shows_only_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "text", *TINY, "--steps", "2", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"text .*\nmodel .*\n(.+ {2}.+\n)+$", out)
    assert "training loss" in out
    assert not re.search("saved|│", out)


@pytest.mark.usefixtures("place")
def test_without_a_text_python_s_own_library_is_learnt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigrad.data.text.standard_library.__defaults__", (100_000,))
    assert main(["train", *TINY, "--steps", "1"]) == 0
    assert "the standard library of Python" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_resumed_run_gives_the_losses_of_one_that_never_stopped(
    place: Path, cell: str, optimizer: str
) -> None:
    command = [
        "train", "text", *TINY, "--cell", cell, "--optimizer", optimizer, "--rate", "0.01",
        "--layers", "2", "--dropout", "0.3", "--steps", "20", "--length", "40", "--every", "8",
        "--quiet",
    ]  # fmt: skip
    assert main([*command, "--checkpoint", "whole.npz"]) == 0
    whole = checkpoint.read(place / "whole.npz")["run"]

    class StopAt(Watcher):
        def __init__(self, step: int) -> None:
            self.step = step

        def stopped(self, run: Run) -> bool:
            return run.step == self.step

    run = Run(Options(**whole["options"]), Vocabulary(whole["vocabulary"]), codes_of(TEXT))
    assert 3 < len(run.text) < 16
    train(run, StopAt(3))  # in the first epoch
    assert run.step == 3
    source = checkpoint.read(place / "whole.npz")["source"]
    checkpoint.write(place / "parts.npz", run.state_dict(), source)
    again = Run(run.options, run.vocabulary, codes_of(TEXT))
    again.load_state_dict(checkpoint.read(place / "parts.npz")["run"])
    train(again, StopAt(16))  # in the second
    assert again.step == 16
    checkpoint.write(place / "parts.npz", again.state_dict(), source)
    assert main(["train", "--resume", "--quiet", "--checkpoint", "parts.npz"]) == 0

    parts = checkpoint.read(place / "parts.npz")["run"]
    assert parts["losses"] == whole["losses"]  # bit for bit
    assert parts["validation"] == whole["validation"]
    for name, value in whole["model"].items():
        np.testing.assert_array_equal(parts["model"][name].numpy(), value.numpy())


def codes_of(text: str) -> Any:
    return Vocabulary.of(text).encode(text)


def test_minutes_become_steps_and_a_resumed_run_keeps_to_them() -> None:
    def clock(at: list[float]) -> Any:  # every reading is 50 ms after the last
        def now() -> float:
            at[0] += 0.05
            return at[0]

        return now

    options = Options(hidden=4, embedding=2, batch=4, length=10, minutes=0.05)
    runs = [Run(options, Vocabulary.of(TEXT), codes_of(TEXT), clock([0.0])) for _ in range(2)]
    train(runs[0], Watcher())
    assert runs[0].step == 59  # 0.05 minutes at 50 ms, and one validation
    while runs[1].step < 33:
        runs[1].advance()
    again = Run(options, runs[1].vocabulary, codes_of(TEXT), clock([1000.0]))
    again.load_state_dict(runs[1].state_dict())
    train(again, Watcher())
    assert again.losses == runs[0].losses


def test_resuming_can_extend_a_run_but_not_change_it(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", "--checkpoint", "model.npz"]) == 2
    assert "finished" in capsys.readouterr().err
    assert main(["train", "--resume", "--checkpoint", "model.npz", "--hidden", "9"]) == 2
    assert "--hidden 9" in capsys.readouterr().err
    assert main(["train", "--resume", "--checkpoint", "model.npz", "--steps", "25"]) == 0
    assert re.search(r"^going on with .*text", capsys.readouterr().out)
    assert checkpoint.read(trained)["run"]["step"] == 25
    assert main(["train", "--resume", "--checkpoint", "model.npz", "--epochs", "1"]) == 0
    (trained.parent / "text").write_text(TEXT + "more")
    assert main(["train", "text", "--resume", "--checkpoint", "model.npz", "--steps", "200"]) == 2
    assert "another text" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_says_how_to_go_on(place: Path, number: int) -> None:
    command = [sys.executable, "-m", "minigrad", "train"]
    begin = [*command, "text", *TINY, "--steps", "1000000", "--checkpoint", "m.npz"]
    with subprocess.Popen(begin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout
        while not p.stdout.readline().startswith("step 10 "):
            pass
        p.send_signal(number)
        out, err = p.communicate(timeout=60)
    assert (p.returncode, err) == (128 + number, "")
    assert " -m minigrad train --resume --checkpoint m.npz" in out
    stopped = int(re.findall(r"stopped after step (\d+)", out)[0])
    assert checkpoint.read(place / "m.npz")["run"]["step"] == stopped
    assert main(["train", "--resume", "--checkpoint", "m.npz", "--steps", str(stopped + 2)]) == 0


@pytest.mark.usefixtures("place")
def test_a_gradient_that_is_not_finite_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, "--optimizer", "sgd", "--rate", "1e38", "--clip", "0", "--warmup", "0"]
    assert main(["train", "text", *arguments, "--steps", "50", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "--rate" in err
    assert err.count("\n") == 1


# ---- sample and score ----------------------------------------------------------------------------


@pytest.mark.usefixtures("trained")
def test_samples_are_reproducible(capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(*options: str) -> str:
        assert main(["sample", "model.npz", "--length", "50", *options]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return str(out)

    assert drawn("--seed", "1") == drawn("--seed", "1") != drawn("--seed", "2")
    assert drawn("--temperature", "0", "--seed", "1") == drawn("--temperature", "0", "--seed", "2")
    assert drawn("--top-k", "1", "--seed", "3") == drawn("--temperature", "0")
    primed = drawn("--prime", "the qu")
    assert primed.startswith("the qu")
    assert len(primed) == 6 + 50 + 1


@pytest.mark.usefixtures("trained")
def test_unknown_characters_are_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "model.npz", "--prime", "fo漢x", "--length", "5"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("fo\ufffdx")
    assert "'漢'" in err


def test_scores_are_the_log_probabilities_of_the_model(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, vocabulary = checkpoint.model_of(checkpoint.read(trained), trained)
    # by the definition: one character at a time
    total, state = 0.0, None
    for c, following in zip("\nthe dog", "the dog"):
        with minigrad.no_grad():
            scores, state = net(minigrad.from_numpy(vocabulary.encode(c).reshape(1, 1)), state)
        z = scores.numpy()[0, 0].astype(float)
        total += z[vocabulary.code[following]] - math.log(np.exp(z).sum())
    surprisal = score(net, vocabulary, "the dog")
    assert surprisal.log_probability == pytest.approx(total, abs=1e-4)
    assert surprisal.bits_per_character == pytest.approx(-total / math.log(2) / 7, abs=1e-4)

    monkeypatch.setattr("sys.stdin", ["jumps\n", "\n", "over\n"])
    assert main(["score", "model.npz", "the dog", "-"]) == 0
    out = capsys.readouterr().out
    assert f"log-probability {total:.3f}" in out
    assert out.index("the dog") < out.index("jumps") < out.index("over")
    assert "t    h    e    ␣    d    o    g" in out
    with pytest.raises(ValueError, match="no character"):
        score(net, vocabulary, "")


def test_drawing_obeys_temperature_top_k_and_top_p() -> None:
    log_p = np.log([0.5, 0.3, 0.15, 0.05])

    def drawn(**options: Any) -> set[int]:
        random = np.random.default_rng(0)
        return {choose(log_p, random, **options) for _ in range(400)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(temperature=0) == drawn(temperature=0.01) == {0}
    assert drawn(top_k=2) == {0, 1}
    assert drawn(top_p=0.5) == {0}
    assert drawn(top_p=0.51) == {0, 1}
    assert drawn(top_p=0.0) == {0}
    random = np.random.default_rng(1)
    counts = np.bincount([choose(log_p, random, temperature=2.0) for _ in range(4000)])
    expected = np.exp(log_p / 2) / np.exp(log_p / 2).sum()
    np.testing.assert_allclose(counts / 4000, expected, atol=0.03)


def test_the_unknown_symbol_is_never_drawn(trained: Path) -> None:
    net, vocabulary = checkpoint.model_of(checkpoint.read(trained), trained)
    assert "\ufffd" not in "".join(sample(net, vocabulary, length=300, temperature=20.0))


@pytest.mark.usefixtures("trained")
@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_reader_that_leaves_ends_the_sample_quietly() -> None:
    command = [sys.executable, "-m", "minigrad", "sample", "model.npz", "--length", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        assert p.stdout
        assert p.stderr
        p.stdout.read(10)
        p.stdout.close()
        assert p.stderr.read() == b""
    assert p.returncode == 141


# ---- errors --------------------------------------------------------------------------------------

ERRORS: list[tuple[list[str], str]] = [
    (["train", "missing"], "missing: No such file"),
    (["train", "empty"], "empty"),
    (["train", "one"], "one character"),
    (["train", "few"], "too short"),
    (["train", "binary"], "binary file"),
    (["train", "latin1"], "not UTF-8 text: byte 0xe9 at offset 3"),
    (["train", "empty", "--checkpoint", "foreign.npz"], "empty"),
    (["train", "text", "--layers", "0"], "--layers 0: an integer of at least 1 is needed"),
    (["train", "text", "--layers", "x"], "--layers"),
    (["train", "text", "--cell", "cnn"], "--cell"),
    (["train", "text", "--dropout", "1"], "--dropout 1.0: a finite number below 1 is needed"),
    (["train", "text", "--rate", "nan"], "--rate nan"),
    (["train", "text", "--rate", "0"], "--rate 0.0"),
    (["train", "text", "--minutes", "inf"], "--minutes inf"),
    (["train", "text", "--steps", "5", "--epochs", "1"], "contradict"),
    (["train", "text", "--hidden", "1000000000"], "memory"),
    (["train", "text", "--plot", "curve.jpg"], ".png"),
    (["train", "text", "--plot", "fake.png"], "fake.png|matplotlib"),
    (["train", "text", "--checkpoint", "binary"], "no minigrad checkpoint"),
    (["train", "text", "--checkpoint", "foreign.npz"], "no minigrad checkpoint"),
    (["train", "text", "--checkpoint", "foreign.npz", "--overwrite"], "no minigrad checkpoint"),
    (["train", "text", "--checkpoint", "model.npz"], "--resume"),
    (["train", "text", "--checkpoint", "nowhere/model.npz"], "nowhere"),
    (["train", "text", "--checkpoint", "folder"], "directory"),
    (["train", "--resume", "--checkpoint", "missing.npz"], "missing.npz: No such file"),
    (["train", "--resume", "--overwrite", "--checkpoint", "model.npz"], "contradict"),
    (["sample", "missing.npz"], "missing.npz: No such file"),
    (["sample", "folder"], "folder: Is a directory"),
    (["sample", "empty"], "empty is no minigrad checkpoint"),
    (["sample", "truncated.npz"], "truncated.npz is no minigrad checkpoint"),
    (["sample", "foreign.npz"], "foreign.npz is no minigrad checkpoint"),
    (["sample", "text"], "text is no minigrad checkpoint"),
    (["sample", "model.npz", "--temperature", "-1"], "--temperature"),
    (["sample", "model.npz", "--top-p", "2"], "--top-p"),
    (["sample", "model.npz", "--length", "0"], "--length"),
    (["score", "model.npz"], "SENTENCE"),
    (["score", "model.npz", ""], "empty sentence"),
    (["train", "--hiden", "5"], "train: unknown option --hiden: did you mean --hidden?.* --help"),
    (["sample", "model.npz", "--xyz=1"], r"sample: unknown option --xyz \("),
    (["info", "model.npz"], "info: unexpected argument model.npz"),
    (["fly"], "invalid choice"),
    ([], "COMMAND .*minigrad --help"),
]


@pytest.mark.parametrize(("command", "words"), ERRORS, ids=lambda v: " ".join(v)[:60])
def test_an_error_is_one_sentence_and_changes_nothing(
    trained: Path, command: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = trained.parent
    (place / "empty").write_bytes(b"")
    (place / "one").write_text("x")
    (place / "few").write_text("abcdef")
    (place / "binary").write_bytes(b"\x7fELF\0\0\0")
    (place / "latin1").write_bytes(b"caf\xe9")
    (place / "fake.png").write_bytes(b"\x89PNG not ours")
    (place / "truncated.npz").write_bytes(trained.read_bytes()[:-200])
    (place / "folder").mkdir()
    np.savez(place / "foreign.npz", x=np.ones(3))
    before = files(place)
    try:
        status = main(command)
    except SystemExit as e:  # by argparse
        status = int(e.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("minigrad")
    assert err.count("\n") == 1
    assert re.search(words, err), err
    assert files(place) == before


def test_what_may_not_be_read_or_written(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = trained.parent
    (place / "text").chmod(0)
    if os.access(place / "text", os.R_OK):
        pytest.skip("this user, such as root, reads and writes everything")
    assert main(["train", "text"]) == 2
    assert "text: Permission denied" in capsys.readouterr().err
    place.chmod(0o500)
    try:
        assert main(["train", "text", "--checkpoint", "new.npz"]) == 2
    finally:
        place.chmod(0o700)
    assert "new.npz: Permission denied" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_checkpoint(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(trained.parent)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "model.npz")

    monkeypatch.setattr(Path, "replace", full)
    command = ["train", "--resume", "--checkpoint", "model.npz", "--steps", "30", "--quiet"]
    assert main(command) == 2
    assert "No space left" in capsys.readouterr().err
    assert files(trained.parent) == before


# ---- the rest ------------------------------------------------------------------------------------


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for words in (minigrad.__version__, "MINIGRAD_ISA", "baseline", "NumPy", "cffi", "tqdm"):
        assert words in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"minigrad {minigrad.__version__}\n"


def test_what_to_type_next_begins_as_the_command_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sys.orig_argv", ["python3.11", "-m", "x"], raising=False)
    for script, command in (
        (".venv/bin/minigrad", ".venv/bin/minigrad"),
        ("my venv/bin/minigrad", '"my venv/bin/minigrad"'),
        ("/usr/bin/minigrad", "minigrad"),
        ("/usr/bin/pytest", "minigrad"),
        ("/x/pytest/__main__.py", "minigrad"),
        ("/x/minigrad/__main__.py", "python3.11 -m minigrad"),
    ):
        monkeypatch.setattr("sys.argv", [script])
        assert commands.called() == command


def test_ctrl_c_while_the_program_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "minigrad.cli", Loading("minigrad.cli"))
    assert run_module() == 130


def test_a_total_that_is_an_estimate_is_called_one() -> None:
    run = Run(Options(hidden=4, minutes=1), Vocabulary.of(TEXT), codes_of(TEXT))
    run.step, run.total = 20, 50
    assert report.place(run) == "20 of about 50"
    run.step = 50
    assert report.place(run) == "50 of 50"
    run = Run(Options(hidden=4, steps=7), run.vocabulary, codes_of(TEXT))
    assert report.place(run) == "0 of 7"


def test_schedules_fall_from_one_to_a_hundredth() -> None:
    for schedule in ("cosine", "step", "exponential"):
        rates = [rate_at(p, schedule) for p in np.linspace(0, 1.5, 50)]
        assert rates[0] == 1
        assert rates[-1] == pytest.approx(0.01)
        assert rates == sorted(rates, reverse=True)
    assert rate_at(0.9, "constant") == 1


def test_sparkline() -> None:
    assert report.sparkline([3.0, 2.0, 1.0]) == "3.00 █▅▁ 1.00"
    assert report.sparkline([1.0]) == "1.00 ▁ 1.00"
    assert len(report.sparkline(list(range(1000)))) <= 60 + 14


def test_the_png_is_recognised_as_ours(trained: Path) -> None:
    pytest.importorskip("matplotlib")
    command = ["train", "--resume", "--checkpoint", "model.npz", "--plot", "curve.png"]
    for steps in ("25", "30"):  # the second replaces what the first drew
        assert main([*command, "--steps", steps]) == 0
    assert report.is_ours(trained.parent / "curve.png")
