"""Losses of sequences of labels: CTC against PyTorch's, a CRF against the same recursion in PyTorch."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

import minigrad
from minigrad import nn

from .engines import random, torch
from .harness import Bench

AHEAD = {"torch": 1.0}


def ctc_calls(
    T: int, N: int, C: int, L: int, dtype: Any = np.float32
) -> dict[str, Callable[[], Any]]:
    """Loss and gradient of N targets of L labels in T steps of C classes."""
    scores = random(T, N, C, dtype=dtype)
    logs = scores - np.logaddexp.reduce(scores, -1, keepdims=True)
    targets = np.random.default_rng(1).integers(1, C, (N, L))
    sizes = np.full(N, T), np.full(N, L)
    x, y = minigrad.tensor(logs, requires_grad=True), torch.tensor(logs, requires_grad=True)
    theirs = [torch.tensor(a) for a in (targets, *sizes)]

    def ours() -> Any:
        x.grad = None
        loss = nn.functional.ctc_loss(x, targets, *sizes)
        loss.backward()
        return loss.item()

    def of_torch() -> Any:
        y.grad = None
        loss = torch.nn.functional.ctc_loss(y, *theirs)
        loss.backward()
        return loss.item()

    return {"minigrad": ours, "torch": of_torch}


def crf_calls(T: int, N: int, C: int) -> dict[str, Callable[[], Any]]:
    """-log-likelihood of T tags of C kinds, and all gradients."""
    emissions, tags = random(T, N, C), np.random.default_rng(1).integers(0, C, (T, N))
    crf = nn.CRF(C)
    x, y = minigrad.tensor(emissions, requires_grad=True), minigrad.tensor(tags)
    X, Y = torch.tensor(emissions, requires_grad=True), torch.tensor(tags)
    A, start, end = (
        torch.tensor(np.array(p.detach()), requires_grad=True)
        for p in (crf.transitions, crf.start_transitions, crf.end_transitions)
    )

    def ours() -> Any:
        x.grad = None
        crf.zero_grad()
        loss = -crf(x, y, reduction="mean_of_sums")
        loss.backward()
        return loss.item()

    def of_torch() -> Any:
        for leaf in (X, A, start, end):
            leaf.grad = None
        alpha = start + X[0]
        for t in range(1, T):
            alpha = torch.logsumexp(alpha[:, :, None] + A, 1) + X[t]
        log_z = torch.logsumexp(alpha + end, 1)
        score = X.gather(2, Y[..., None])[..., 0].sum(0) + A[Y[:-1], Y[1:]].sum(0)
        loss = (log_z - score - start[Y[0]] - end[Y[-1]]).mean()
        loss.backward()
        return loss.item()

    return {"minigrad": ours, "torch": of_torch}


def run(bench: Bench) -> None:
    """Forward and backward, with targets: to be ahead."""
    sizes = (200, 32, 40, 30), (50, 8, 30, 10), (1000, 16, 100, 100)
    for threads in bench.threads:
        for size in sizes[:1] if bench.quick else sizes:
            case = "CTC T={} N={} C={} L={}".format(*size)
            bench.measure(case, ctc_calls(*size), threads, AHEAD, check=True)
        case = "CTC T=200 N=32 C=40 L=30, float64"
        bench.measure(case, ctc_calls(*sizes[0], np.float64), threads, AHEAD, check=True)
        for size in ((50, 32, 20), (100, 64, 40))[: 1 if bench.quick else 2]:
            case = "CRF T={} N={} C={}".format(*size)
            bench.measure(case, crf_calls(*size), threads, AHEAD, check=True)
