"""Quality on a data set: reading it, judging what a model makes of it, comparing models."""
