"""What the user says of padding: how long the sequences of a batch are, or which steps count."""

from __future__ import annotations

from typing import Any

import numpy as np

from .shapes import Shape


def sizes(name: str, given: Any, n: int, most: int | None = None) -> Any:
    """`given` as int64 [n]; ValueError where it is not n integers from 0 to `most`."""
    values = np.ascontiguousarray(np.asarray(given))
    if values.shape != (n,) or (n and values.dtype.kind not in "iu"):
        raise ValueError(
            f"{name}: {values.dtype} {list(values.shape)}: {n} integers are needed, one for each "
            f"sequence of the batch"
        )
    if n and not 0 <= values.min() <= values.max() <= (values.max() if most is None else most):
        limit = "" if most is None else f" to {most}"
        raise ValueError(f"{name}: from 0{limit}, not {values.min()} … {values.max()}")
    return values.astype(np.int64, copy=False)


def valid_steps(name: str, shape: Shape, lengths: Any, mask: Any) -> Any | None:
    """Which steps count, bool [T, N]: where lengths and mask agree; None where all do."""
    counted = None
    if mask is not None:
        counted = np.asarray(mask)
        if counted.shape != shape[:2] or counted.dtype != np.bool_:
            raise ValueError(
                f"{name}: mask {counted.dtype} {list(counted.shape)}: bool {list(shape[:2])} is needed, "
                f"true where a step counts"
            )
    if lengths is not None:
        inside = np.arange(shape[0])[:, None] < sizes(f"{name}: lengths", lengths, *shape[1::-1])
        counted = inside if counted is None else counted & inside
    return None if counted is None or counted.all() else counted
