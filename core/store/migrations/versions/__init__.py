"""One file for each step; the newest name is the schema this program knows."""
