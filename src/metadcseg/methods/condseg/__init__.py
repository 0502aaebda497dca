"""ConDSeg's training in two stages."""
