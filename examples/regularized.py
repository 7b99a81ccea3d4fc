"""Overfitting, and what helps: an LSTM learns a random language from too few sentences.

Each of 8 letters depends on the two before it, by a table of probabilities that is drawn once.  So the
best loss that any model can have is known: the entropy of the table, in nats per letter.  Whoever gets
below it on the 24 training sentences has learnt them by heart, and pays for it on new ones.

What to learn: regularisation is an argument of the layer, off in eval(); noise on the state or on U
keeps the loss on new sentences near the bound, where the plain LSTM drifts away from it; the loss on
the training sentences alone would have told the opposite.
"""

import numpy as np

import minigrad
from minigrad import nn, optim

LETTERS, T, H, STEPS = 8, 40, 96, 240
FORMS = {
    "plain": {},
    "layer norm": {"layer_norm": True},
    "recurrent dropout": {"recurrent_dropout": 0.5},
    "zoneout": {"zoneout": (0.5, 0.5)},
    "weight drop": {"weight_drop": 0.7},
    "the last three": {"recurrent_dropout": 0.5, "zoneout": (0.3, 0.3), "weight_drop": 0.5},
}
rng = np.random.default_rng(0)
TABLE = rng.dirichlet([0.4] * LETTERS, size=(LETTERS, LETTERS))  # of the next letter, given two


def sentences(n):
    """int64 [T + 2, n]"""
    text = rng.integers(0, LETTERS, (T + 2, n))
    for t in range(2, T + 2):
        cumulative = TABLE[text[t - 2], text[t - 1]].cumsum(-1)
        text[t] = (rng.random((n, 1)) < cumulative).argmax(-1)
    return text


def bound(text):
    """The loss of the table itself on these sentences."""
    return -np.log(TABLE[text[:-2], text[1:-1], text[2:]]).mean()


class Model(nn.Module):
    """The scores of the next letter, [T, n, LETTERS], from the letters so far."""

    def __init__(self, **form):
        super().__init__()
        self.lstm = nn.LSTM(LETTERS, H, **form)
        self.out = nn.Linear(H, LETTERS)

    def loss(self, text):
        """The mean over all letters but the first two, in nats."""
        x = nn.functional.one_hot(minigrad.from_numpy(text[:-1]), LETTERS).float()
        y, _ = self.lstm(x)
        scores, target = self.out(y[1:]), minigrad.from_numpy(text[2:])
        return nn.functional.cross_entropy(scores.reshape(-1, LETTERS), target.reshape(-1))


def measured(model, text):
    """Its loss in eval()."""
    with minigrad.no_grad():
        return model.eval().loss(text).item()


few, new = sentences(24), sentences(200)
print(f"the table itself: {bound(few):.3f} on the training sentences, {bound(new):.3f} on new ones")
for name, form in FORMS.items():
    minigrad.manual_seed(0)
    model = Model(**form)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    best = np.inf
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        model.train().loss(few).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        best = min(best, measured(model, new)) if step % 20 == 0 else best
    seen, unseen = measured(model, few), measured(model, new)
    print(f"{name:18} training {seen:.3f} new {unseen:.3f} (at best {best:.3f})")
