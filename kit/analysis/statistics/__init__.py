"""How far a number could be off, and whether two differ: arrays in, intervals and p-values out."""
