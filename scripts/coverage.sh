#!/usr/bin/env bash
# The tests, measured, and the gate of 90 % over mm, actors and tune (pyproject.toml, tool.coverage).
# Two runs: all tests with compiled kernels, whose lines a tracer cannot see, and those of the kernels as plain Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python -m coverage erase
python -m coverage run -m pytest -q "$@"
# numpy scalars warn where compiled code with error_model="numpy" silently gives inf or nan.
NUMBA_DISABLE_JIT=1 python -m coverage run -m pytest -q -m "not (slow or ray or e2e or real_data or gpu)" \
    -W "ignore::RuntimeWarning" "$@"
python -m coverage combine --quiet
python -m coverage report
