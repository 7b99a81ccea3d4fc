"""Tagging with a conditional random field: tags that must fit together.

Words are drawn by tags: O outside, B the first word of a name, I a further one, which may follow B
or I only.  Many words fit several tags, so that who decides word by word says "O I", which is no
sequence of tags.  A CRF (Lafferty et al., 2001) above the same scores learns what follows what, and
the Viterbi recursion finds the best sequence as a whole.

What to learn: the loss is minus the log-probability of all tags together; transitions are parameters.
"""

import numpy as np

import minigrad
from minigrad import nn, optim

TAGS, WORDS, T, N, STEPS = "OBI", 12, 20, 32, 150
rng = np.random.default_rng(0)
#: the next tag: p[from, to]; O is never followed by I
follow = np.array([[0.7, 0.3, 0.0], [0.3, 0.1, 0.6], [0.5, 0.1, 0.4]])
#: the word of a tag: one of five more often, some of which B and I share
emit = np.full((3, WORDS), 0.04)
for tag, first in enumerate((0, 5, 7)):
    emit[tag, first : first + 5] += 0.104


def sentences(n):
    """Words and tags [T, n], and lengths."""
    tags = np.zeros((T, n), int)
    tags[0] = rng.random(n) < 0.3
    for t in range(1, T):
        tags[t] = (rng.random((n, 1)) > follow[tags[t - 1]].cumsum(1)).sum(1)
    words = (rng.random((T, n, 1)) > (emit / emit.sum(1, keepdims=True))[tags].cumsum(2)).sum(2)
    return minigrad.tensor(words), minigrad.tensor(tags), rng.integers(5, T + 1, n)


class Tagger(nn.Module):
    """Scores of the tags of each word, which sees its neighbours; a CRF above, or none."""

    def __init__(self):
        super().__init__()
        self.scores, self.crf = nn.Embedding(WORDS, len(TAGS)), nn.CRF(len(TAGS))

    def loss(self, words, tags, lengths, chain):
        """-ln p of all tags of a sentence, or the sum of -ln p of each."""
        x = self.scores(words)
        if chain:
            return -self.crf(x, tags, lengths, reduction="mean_of_sums")
        step = nn.SequenceLoss(lambda y, t: nn.functional.cross_entropy(y, t, reduction="none"))
        return step(x, tags, lengths) / len(lengths)


for chain in (False, True):
    minigrad.manual_seed(0)
    model = Tagger()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        loss = model.loss(*sentences(N), chain)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words, tags, lengths = sentences(200)
    with minigrad.no_grad():
        x = model.scores(words)
        found = model.crf.decode(x, lengths) if chain else x.argmax(-1).numpy().T
    right = broken = 0
    for said, tagged, length in zip(found, tags.numpy().T, lengths):
        right += (np.array(said)[:length] == tagged[:length]).sum()
        text = "O" + "".join(TAGS[i] for i in said[:length])
        broken += text.count("OI")
    print(f"{'CRF, Viterbi' if chain else 'word by word'}: loss {loss.item():.2f}, ", end="")
    print(f"{right / lengths.sum():.1%} of tags right, {broken} times I after O")
print("transitions:", model.crf.transitions.double().numpy().round(1).tolist())
