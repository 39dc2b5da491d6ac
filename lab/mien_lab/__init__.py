"""Many clients on one machine: demo data, the demo federation, benchmarks."""
