"""The state machine: what a rollout is, and how each verb changes it."""
