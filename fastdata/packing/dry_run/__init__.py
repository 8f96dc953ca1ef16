"""What packing would do: how long, how large, which encoding."""
