"""Benchmarks of a bundle on this machine: the ceiling first, then what is reached of it."""
