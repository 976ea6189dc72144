"""The state machine: what a rollout is, and what each verb makes of it."""
