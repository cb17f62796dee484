"""What a table's numbers hide: items lost, noise, distances, lines, other shares."""
