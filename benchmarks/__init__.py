"""What kit promises of itself, measured: run by `make bench`."""
