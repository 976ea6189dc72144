"""The statistics: what is counted, and how strongly it says that next is worse."""
