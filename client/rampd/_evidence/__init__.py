"""The statistics of outcomes: how strong the evidence is that next is worse. Pure. The server runs the same code."""
