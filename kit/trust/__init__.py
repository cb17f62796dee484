"""What makes the numbers believable: does it come out again, where is it from, is it stale."""
