"""Measuring time: an interval is shown once, and has to be repeated.

Two marks are set, d steps apart, d from 5 to 15; the answer is the step that lies as far behind the
second mark as that one behind the first.  Between the marks nothing is shown, so the network must
count.  Six units of a plain LSTM are compared with those of its variants: peepholes, through which
the gates see the cell state even while the output gate is shut (Gers, Schraudolph and Schmidhuber,
2002), and coupled gates, i = 1 - f, with which a cell writes exactly where it forgets.

What to learn: a variant is an argument; forget_bias=1 makes an untrained cell remember; here coupled
gates, with a quarter fewer weights, get it first; one seed proves nothing: medians are shown.
"""

import statistics

import minigrad
from minigrad import nn, optim

H, N, STEPS, SEEDS = 6, 64, 500, 3
FIRST, SHORTEST, LONGEST = 4, 5, 15  # the first mark is set in one of the first four steps
T = FIRST + 2 * LONGEST
FORMS = {
    "plain": {},
    "peephole": {"peephole": "diagonal"},
    "coupled": {"coupled": "input"},
    "coupled, peephole": {"coupled": "input", "peephole": "diagonal"},
}


class Timer(nn.Module):
    """An LSTM, and a score for each step to be the answer."""

    def __init__(self, **form):
        super().__init__()
        self.lstm = nn.LSTM(1, H, forget_bias=1.0, **form)
        self.out = nn.Linear(H, 1)

    def forward(self, x):
        """x [T, N, 1] -> [N, T]"""
        y, _ = self.lstm(x)
        return self.out(y)[:, :, 0].T


def batch(n):
    """x [T, n, 1], marks, and the steps to answer at [n]."""
    first, d = minigrad.randint(0, FIRST, (n,)), minigrad.randint(SHORTEST, LONGEST + 1, (n,))
    steps = minigrad.arange(T).reshape(T, 1)
    marks = (steps == first).float() + (steps == first + d).float()
    return marks.reshape(T, n, 1), first + 2 * d


def train(form, seed):
    """(after how many steps 9 of 10 answers are right, the share of right answers at the end)"""
    minigrad.manual_seed(seed)
    model = Timer(**form)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    learnt, share = STEPS, 0.0  # share: a running mean
    for step in range(STEPS):
        x, answer = batch(N)
        scores = model(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, answer).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        right = (scores.argmax(1) == answer).float().mean().item()
        share = 0.9 * share + 0.1 * right
        learnt = min(learnt, step) if share > 0.9 else learnt
    with minigrad.no_grad():
        x, answer = batch(1000)
        return learnt, (model(x).argmax(1) == answer).float().mean().item()


print(f"{'form':20} weights  steps until 90 % right  right at the end    (medians of {SEEDS})")
for name, form in FORMS.items():
    count = sum(p.numel() for p in nn.LSTM(1, H, **form).parameters())
    learnt, right = (statistics.median(c) for c in zip(*(train(form, s) for s in range(SEEDS))))
    print(f"{name:20} {count:7} {learnt:23} {right:17.1%}", flush=True)
print(f"({STEPS} steps: not reached; a guess of d is right in {1 / (LONGEST - SHORTEST + 1):.1%})")
