"""Masks of an audit in the formats of the tools in which people draw."""
