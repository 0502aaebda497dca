"""One file at a time: images, volumes, and their geometry."""
