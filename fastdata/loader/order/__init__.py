"""Which samples come when: samplers that shuffle, split among ranks, and need no memory."""
