"""What follows from the rows: non-inferiority, and the recommendation."""
