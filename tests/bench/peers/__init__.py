"""Compares one local answer of rampd with one answer of each library that people would use instead."""

from tests.bench.peers.comparison import run

__all__ = ["run"]
