"""The five ways in which inputs and outputs can be related, with one call: y, state = layer(x, state).

    fixed to fixed     one step in, one output              x [1, N, I]; y[0]
    one to many        one thing in, a sequence out         its output is fed back: a Jordan network
    many to one        a sequence in, one output            layer.final(state)
    many to many, shifted    all is read, then written      the state after reading begins the writing
    many to many, in step    an output for each input       y

What to learn: it is always the same layer; the ways differ in what goes in and what is looked at.
"""

import minigrad
from minigrad import nn, optim
from minigrad.nn import functional as F


def train(name, example, scores, parts, steps=300):
    """Learn scores(*inputs) for (*inputs, target) = example(); what part of a new one is right?"""
    optimizer = optim.Adam([p for part in parts for p in part.parameters()], lr=0.01)
    for _ in range(steps):
        *inputs, target = example()
        y = scores(*inputs)  # [..., C]
        loss = F.cross_entropy(y.reshape(-1, y.shape[-1]), target.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    *inputs, target = example()
    answers = scores(*inputs[:1])  # without what it was taught with
    print(f"{name}: right {(answers.argmax(-1) == target).float().mean().item():.3f}")


def bits(rule, steps=9):
    """Examples of random bits, -1 or 1, [T, N, 1], and what the rule says of them: yes or no."""

    def example():
        x = minigrad.randint(0, 2, (steps, 64, 1)).float() * 2 - 1
        return x, rule(x)[..., 0].to(minigrad.int64)

    return example


def alike(x):
    """Is a bit the same as those on both sides of it?"""
    end = x[:1] * 0
    return minigrad.abs(x + minigrad.cat([end, x[:-1]]) + minigrad.cat([x[1:], end])) > 2.5


minigrad.manual_seed(0)
rnn, out = nn.RNN(2, 8), nn.Linear(8, 2)
corners = minigrad.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]])
xor = minigrad.tensor([0, 1, 1, 0])
train("fixed to fixed, XOR", lambda: (corners, xor), lambda x: out(rnn(x)[0][0]), [rnn, out])

words = ["three", "sixty", "eight", "forty"]
letters = sorted(set("".join(words)))
spelt = minigrad.tensor([[letters.index(word[t]) for word in words] for t in range(5)])
taught = F.one_hot(spelt, len(letters)).float()
which = minigrad.eye(4).reshape(1, 4, 4).expand(5, 4, 4)  # the same at every step
speller = nn.JordanRNN(4, 32, len(letters), output="softmax")
train("one to many, spelling", lambda: (which, taught, spelt),
      lambda x, t=None: speller(x, targets=t)[0].log(), [speller])  # fmt: skip

gru, out = nn.GRU(1, 16), nn.Linear(16, 2)
train("many to one, majority", bits(lambda x: x.sum(0) > 0),
      lambda x: out(gru.final(gru(x)[1])), [gru, out])  # fmt: skip

encoder, decoder, out = nn.LSTM(1, 32), nn.LSTM(1, 32), nn.Linear(32, 2)
train("many to many, shifted, backwards", bits(lambda x: minigrad.flip(x, 0) > 0, steps=5),
      lambda x: out(decoder(x * 0, encoder(x)[1])[0]), [encoder, decoder, out])  # fmt: skip

both, out = nn.GRU(1, 16, bidirectional=True), nn.Linear(32, 2)
train("many to many, in step, tagging", bits(alike), lambda x: out(both(x)[0]), [both, out])
