"""The tasks that move rollouts without a person: see docs/automation.md."""
