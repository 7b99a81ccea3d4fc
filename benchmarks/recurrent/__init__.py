"""Recurrent layers beside PyTorch, JAX, onnxruntime and NumPy: `python -m benchmarks recurrent`.

`cases` says what is computed; `libraries` (minigrad and PyTorch, one text for both), `bptt` (NumPy),
`scan` (JAX) and `onnx_step` compute it; `workers` runs an engine in a process of its own, where it
needs an environment of its own.  The tables: `layers`, `long`, `streaming`, `variants`,
`regularized`, `clockwork`.
"""
