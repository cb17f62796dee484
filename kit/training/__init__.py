"""The one loop that trains all kinds of architecture."""
