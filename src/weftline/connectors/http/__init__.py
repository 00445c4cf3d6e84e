"""HTTP push: bodies of records posted to a feed, durable before the answer."""
