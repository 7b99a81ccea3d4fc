"""Speed beside PyTorch and NumPy, in one process: `python -m benchmarks --help`.

Every row times the same work in each library, in turn, round after round, and gives ratios
minigrad ÷ peer next to the target: above 1 means that minigrad is slower.  A part is a module with
a function `run(bench)` (see `__main__.PARTS`).
"""
