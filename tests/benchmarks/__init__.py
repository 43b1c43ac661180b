"""Benchmarks against the library's peers: ``python -m tests.benchmarks``."""
