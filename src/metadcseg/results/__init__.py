"""What experiments have left behind: records, scores, tests of significance. Imports no torch."""
