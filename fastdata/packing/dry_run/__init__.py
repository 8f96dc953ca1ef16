"""Plans of packing: how long, how large, which encoding."""
