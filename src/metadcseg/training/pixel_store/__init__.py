"""One number for every pixel of every training image, on disk."""
