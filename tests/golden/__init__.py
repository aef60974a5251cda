"""Golden numbers: every kind of case mapped to the project function that must reproduce it.

``python -m tests.golden FILE.json [--kind KIND ...]`` evaluates a file; it exits 0 only if every case passes.
"""
