"""Which outcomes count as evidence. `rampd._evidence` has the statistics of them."""
