"""Many clients on one machine: comparisons, simulations, demo data, the demo federation, benchmarks."""
