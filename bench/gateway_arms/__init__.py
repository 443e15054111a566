"""The processes between which requests go in the benchmark of the gateway."""
