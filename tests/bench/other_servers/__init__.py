"""Compares a Resolve over the network with one question to each server that people would run instead."""

from tests.bench.other_servers.comparison import run

__all__ = ["run"]
