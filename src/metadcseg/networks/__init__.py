"""The networks: by name or the user's own, all returning logits and features."""

from metadcseg.networks.committee import Committee, members_of
from metadcseg.networks.consent import Consent, network_of
from metadcseg.networks.contract import Output
from metadcseg.networks.factory import NETWORKS, NetworkOptions, create_network, create_networks
from metadcseg.networks.tap import TappedNetwork, find_head

__all__ = [
    "NETWORKS",
    "Committee",
    "Consent",
    "NetworkOptions",
    "Output",
    "TappedNetwork",
    "create_network",
    "create_networks",
    "find_head",
    "members_of",
    "network_of",
]
