"""The networks: by name or the user's own, all returning logits and features."""

from metadcseg.networks.contract import Output
from metadcseg.networks.factory import NETWORKS, NetworkOptions, create_network
from metadcseg.networks.tap import TappedNetwork, find_head

__all__ = ["NETWORKS", "NetworkOptions", "Output", "TappedNetwork", "create_network", "find_head"]
