"""Reading unsegmented frames: connectionist temporal classification (CTC).

A toy of speech recognition.  An utterance is a sequence of "phones", each of which lasts 2 to 6
frames, between pauses that may be missing; a frame is the phone's spectrum in noise, loud or soft.
Of an utterance the labels are known, and not where they begin: CTC sums over all ways to lay them
along the frames (Graves et al., 2006), so nobody has to cut the training data.

What to learn: the network says one class per frame, or "blank"; the loss takes both lengths.
"""

import numpy as np

import minigrad
from minigrad import nn, optim

PHONES, BANDS, NOISE, STEPS, N = 6, 12, 0.5, 120, 32
rng = np.random.default_rng(0)
spectra = rng.standard_normal((PHONES + 1, BANDS))
spectra[0] = 0  # a pause


def utterances(n):
    """Frames [T, n, BANDS], labels in a row, frames of each, labels of each."""
    frames, labels = [], []
    for _ in range(n):
        said = rng.integers(1, PHONES + 1, rng.integers(3, 8))
        units = [0, *(unit for phone in said for unit in (phone, 0))]
        lasting = [rng.integers(2, 7) if unit else rng.integers(0, 4) for unit in units]
        x = spectra[np.repeat(units, lasting)] * rng.uniform(0.7, 1.3)
        x += NOISE * rng.standard_normal(x.shape)
        frames.append(minigrad.tensor(x.astype("float32")))
        labels.append(said)
    lengths = [[len(x) for x in each] for each in (frames, labels)]
    return nn.utils.rnn.pad_sequence(frames), labels, *lengths


def edit_distance(a, b):
    """How many insertions, deletions and substitutions make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        above, row = row, [i + 1]
        for j, y in enumerate(b):
            row.append(min(above[j] + (x != y), above[j + 1] + 1, row[j] + 1))
    return row[-1]


class Recognizer(nn.Module):
    """[T, N, BANDS] -> [T, N, PHONES + 1], log-probabilities of the classes in each frame."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(BANDS, 24, bidirectional=True)
        self.out = nn.Linear(48, PHONES + 1)

    def forward(self, x, lengths):
        """log softmax(h Wᵀ + b)"""
        return nn.functional.log_softmax(self.out(self.lstm(x, lengths=lengths)[0]), -1)


minigrad.manual_seed(0)
model, ctc = Recognizer(), nn.CTCLoss()
optimizer = optim.Adam(model.parameters(), lr=0.02)
for step in range(1, STEPS + 1):
    x, labels, frames, counts = utterances(N)
    loss = ctc(model(x, frames), np.concatenate(labels), frames, counts)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step in (1, 20, 40, 80, STEPS):
        print(f"step {step:3}: loss per label {loss.item():.3f}")

x, labels, frames, counts = utterances(64)
y = model(x, frames)
best, beam = nn.ctc_greedy_decode(y, frames), nn.ctc_beam_decode(y, frames, beam_width=5)
for name, read in (("best path", best), ("beam of 5", [hyps[0][0] for hyps in beam])):
    wrong = sum(edit_distance(said, r) for said, r in zip(labels, read))
    print(f"{name}: label error rate {wrong / sum(counts):.3f}")
print("frames:", "".join("-123456"[c] for c in y[: frames[0], 0].argmax(-1).tolist()))
print("read:  ", *best[0], "  said:", *labels[0])
