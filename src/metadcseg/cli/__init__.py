"""The command line: the only room that prints, exits, or wires parts by name."""
