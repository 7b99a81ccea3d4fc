"""Derivatives of functions: vjp, jvp, jacobian, hessian, hvp, and per-sample gradients.

A function takes tensors, or dicts, tuples and lists of them, and gives such.  With J the Jacobian of
f at x, [output…, input…]:

    vjp       u ↦ uᵀ J      one backward pass, whatever the number of inputs
    jvp       v ↦ J v       forward mode: one column, whatever the number of outputs
    jacobian  J             row by row; jacfwd: column by column
    hessian   ∇² f          the Jacobian of the gradient
    hvp       v ↦ ∇² f v    the price of two gradients, without the Hessian

Names and meanings are those of `torch.func` and JAX where these have the function.  Nothing is added
to any `.grad`.  What is returned can be differentiated again where an argument is tracked, so that
transforms nest; otherwise it is a plain value, and fused layers stay fused.

There is no forward mode on the tape.  jvp needs none: u ↦ uᵀ J is linear, and the vjp of that, at any
u, is v ↦ J v (J. Townsend, A new trick for calculating Jacobian vector products, 2017; the product
with the Hessian is B. Pearlmutter's, Fast Exact Multiplication by the Hessian, 1994).  It costs about
what two gradients do and works for every op with a second derivative; fused layers run step by step.
"""

from .modules import functional_call, per_sample_grad
from .transforms import grad, grad_and_value, hessian, hvp, jacfwd, jacobian, jacrev, jvp, vjp
