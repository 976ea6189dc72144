"""The statistics: what is counted, and how strong the evidence is that next is worse."""
