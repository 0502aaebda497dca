"""From what lies in folders to a prepared set, and what is found wrong on the way."""
