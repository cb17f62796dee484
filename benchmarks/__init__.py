"""What kit promises of itself, measured: `make bench`, or `python -m benchmarks NAME ...`."""
