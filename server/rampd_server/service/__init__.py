"""The effects of requests: changes of rollouts, and outcomes that are counted."""
