"""What a request brings about: a change of a rollout, or outcomes that are counted."""
