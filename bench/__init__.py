"""The published benchmarks; `make bench` runs them all."""
