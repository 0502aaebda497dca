"""Known data sets from their official addresses."""
