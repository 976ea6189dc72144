"""The streams: Watch and WatchRelease."""
