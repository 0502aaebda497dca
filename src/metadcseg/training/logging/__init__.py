"""What a run tells while it trains: curves, figures, progress."""
