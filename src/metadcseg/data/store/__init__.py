"""The prepared set on the disk: its layout, tables, reader and writer."""
