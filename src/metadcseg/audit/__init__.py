"""Which pixels, regions and masks are wrong; corrected masks; the review page; what comes back from a review."""
