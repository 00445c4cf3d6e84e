"""The Log on disk: what sources that cannot send again gave us, durable before it is acknowledged."""
