"""One incident book, used by the road, quality, alerts and security."""
