"""From a variant to something that runs, and whether it answers as it should."""
