"""MetaDCSeg, the method of the paper."""
