#!/bin/sh
# Kernel tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer, in a virtual environment
# of its own:   sh tests/sanitize.sh [where]
set -eu
cd "$(dirname "$0")/.."
venv=${1:-$(mktemp -d)/venv}

python3 -m venv "$venv"
MINIGRAD_SANITIZE=1 "$venv/bin/pip" install --quiet ".[test]"

# The sanitizer must be loaded before Python.  Small tensors live in Python's allocator: PYTHONMALLOC
# hands these to malloc as well, so that an overrun is seen.  Python itself leaks at exit.
LD_PRELOAD="$(${CC:-cc} -print-file-name=libasan.so) $(${CC:-cc} -print-file-name=libubsan.so)"
export LD_PRELOAD PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 HYPOTHESIS_PROFILE=quick

# From another folder, so that the sanitized build is what is imported.
tests=$(pwd)/tests
cd /
"$venv/bin/python" -c 'import sys, minigrad._core as c; assert c.__file__.startswith(sys.prefix), c'
"$venv/bin/python" -m pytest -q -p no:cacheprovider --rootdir "$tests/.." -c "$tests/../pyproject.toml" \
    "$tests/test_core.py" "$tests/test_parallel.py" "$tests/test_ops.py" "$tests/test_optim.py" \
    "$tests/test_fused.py" "$tests/test_fused_face.py" \
    "$tests/test_jacobians.py" "$tests/test_rtrl.py" "$tests/test_ekf.py" \
    "$tests/test_regularized_fused.py" "$tests/test_clockwork.py" "$tests/test_reservoir.py" \
    "$tests/test_ctc.py" "$tests/test_crf.py"
