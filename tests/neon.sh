#!/bin/sh
# Compiles the core and its kernel tests (tests/c/kernels.c) for 64-bit ARM, where the baseline is NEON,
# and runs them under emulation:   sh tests/neon.sh
# Needs python3 and qemu-aarch64.  The cross compiler is zig's clang with musl, from PyPI's `ziglang`,
# in a virtual environment that is deleted at the end.
set -eu
cd "$(dirname "$0")/.."

if ! command -v qemu-aarch64 >/dev/null; then
    echo "tests/neon.sh needs qemu-aarch64 to run 64-bit ARM programs. Debian/Ubuntu: apt-get install qemu-user" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ziglang
# Linked statically: the emulator needs no ARM libraries.
"$work/venv/bin/python" -m ziglang cc -target aarch64-linux-musl -static -O2 -std=gnu11 -ffp-contract=fast \
    -Wall -Wextra -Wno-psabi -pthread -Icextension \
    tests/c/kernels.c cextension/*.c cextension/isa/*.c -lm -o "$work/kernels"
qemu-aarch64 "$work/kernels"
