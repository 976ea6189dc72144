"""What moves rollouts without anybody asking: see docs/automation.md."""
