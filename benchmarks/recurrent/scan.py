"""JAX: the equations of `bptt` under lax.scan, compiled; backward is written out, not derived.

That is what a custom VJP would be, and the fastest that JAX can do here: its own derivative of a scan
adds to the weight gradients at every time step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .bptt import step
from .cases import Case


class Step:
    """A training step."""

    def __init__(self, case: Case) -> None:
        weights = {name: jnp.asarray(value) for name, value in case.weights().items()}
        x, dy = map(jnp.asarray, case.data())
        compiled = jax.jit(partial(step, jnp, jax.lax.scan, case))
        self.run = partial(compiled, weights, x, dy)

    def __call__(self) -> Any:
        """To its end."""
        return jax.block_until_ready(self.run())

    def results(self) -> dict[str, Any]:
        """y and the gradients."""
        return {name: np.asarray(value) for name, value in self().items()}
