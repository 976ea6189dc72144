"""One local answer of rampd against one of the libraries that somebody would pick instead."""

from tests.bench.peers.comparison import run

__all__ = ["run"]
