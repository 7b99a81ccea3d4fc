"""Four things that a multilayer perceptron cannot do with a sequence, and a recurrent network can.

The task: in a sequence of words, tag the word after the title "Mr" as a name.  The perceptron reads
all T words at once, one-hot, side by side; the recurrent network reads them one by one.

What to learn: 1. the perceptron takes one length only; 2. what it has learnt at one position it does
not know at another; 3. its parameters grow with T; 4. order means nothing to it: it learns shuffled
sentences as well as real ones, since every position is a feature of its own.  Sharing the same weights
at every step, and a state that goes from step to step, is the answer to all four.
"""

import minigrad
from minigrad import nn, optim

WORDS, STEPS, HIDDEN, BATCH = 10, 8, 32, 64  # word 0 is "Mr"


class Tagger(nn.Module):
    """Words [T, N, V] -> scores [T, N]: all at once (`hidden` is Linear), or one by one (an RNN)."""

    def __init__(self, hidden, outputs):
        super().__init__()
        self.hidden, self.out = hidden, nn.Linear(HIDDEN, outputs)

    def forward(self, x):
        """[T, N, V] -> [T, N]"""
        if isinstance(self.hidden, nn.RNN):
            return self.out(self.hidden(x)[0])[..., 0]
        side_by_side = x.transpose(0, 1).reshape(x.shape[1], -1)
        return self.out(self.hidden(side_by_side).tanh()).transpose(0, 1)


def networks(steps=STEPS):
    """A perceptron for sentences of that many words; a recurrent network for any."""
    return Tagger(nn.Linear(steps * WORDS, HIDDEN), steps), Tagger(nn.RNN(WORDS, HIDDEN), 1)


def sentences(first, last, steps=STEPS):
    """Random words with one "Mr" at a step from `first` to `last`: [T, N, V], and the tags [T, N]."""
    words = minigrad.randint(1, WORDS, (steps, BATCH)).numpy()
    at, n = minigrad.randint(first, last + 1, (BATCH,)).numpy(), range(BATCH)
    words[at, n] = 0
    tags = minigrad.zeros(steps, BATCH)
    tags[at + 1, n] = 1.0
    return nn.functional.one_hot(minigrad.from_numpy(words), WORDS).float(), tags


def trained(model, order=minigrad.arange(STEPS)):  # noqa: B008
    """The model after 300 steps on names early in the sentence, the words in this order."""
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        x, tags = sentences(0, 3)
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[order]), tags[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, loss.item()


minigrad.manual_seed(0)
(mlp, mlp_loss), (rnn, rnn_loss) = map(trained, networks())
longer, _ = sentences(0, 3, steps=STEPS + 1)
try:
    mlp(longer)
except ValueError as error:
    print(f"1. {STEPS + 1} words, perceptron: {error}\n   recurrent: scores {rnn(longer).shape}")
for first, last in ((0, 3), (4, 6)):
    x, tags = sentences(first, last)
    found = [((m(x) > 0).float() * tags).sum().item() / BATCH for m in (mlp, rnn)]
    print(
        f"2. names found after a title at {first}-{last}: {found[0]:.2f} , recurrent {found[1]:.2f}"
    )
for steps in (8, 80, 800):
    counts = [sum(p.numpy().size for p in m.parameters()) for m in networks(steps)]
    print(f"3. parameters for {steps} words: {counts[0]} , recurrent {counts[1]}")
order = minigrad.tensor([5, 2, 7, 0, 3, 6, 1, 4])
shuffled = [trained(m, order)[1] for m in networks()]
print(f"4. loss in order: {mlp_loss:.3f} , recurrent {rnn_loss:.3f}")
print(f"   loss shuffled: {shuffled[0]:.3f} , recurrent {shuffled[1]:.3f}")
