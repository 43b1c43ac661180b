"""Event Hubs: hubs with partitions, written by key or in turn, read from any position."""
