"""The federation's server: it never sees a face."""
