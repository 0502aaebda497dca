"""Scripts that stand beside an exported network; they are copied, never imported from here."""
