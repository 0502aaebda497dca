"""L2B (Zhou et al., CVPR 2024)."""
