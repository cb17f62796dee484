"""What makes the numbers believable: self-test, crashes, reproduction, provenance."""
