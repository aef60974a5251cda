#!/usr/bin/env bash
# The tests, measured, and the gate of 90 % over mm, actors and tune (pyproject.toml, tool.coverage).
# With compiled kernels, whose lines a tracer cannot see; as plain Python, less what would take minutes there (marks
# `slow` and `compiled`); and alone, because time matters to them, those that start Ray.
# `python -m pytest -q` runs the first and the last of these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

measured() { python -m coverage run -m pytest -q "$@"; }
at_once=(-n 2 --dist worksteal)

python -m coverage erase
measured "${at_once[@]}" -m "not ray" "$@"
# numpy scalars warn where compiled code with error_model="numpy" silently gives inf or nan.
NUMBA_DISABLE_JIT=1 measured "${at_once[@]}" -m "not (slow or compiled or ray or e2e or real_data or gpu)" \
    -W "ignore::RuntimeWarning" "$@"
measured -m ray "$@"
python -m coverage combine --quiet
python -m coverage report
