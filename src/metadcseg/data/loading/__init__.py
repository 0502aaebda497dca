"""Cases of a prepared set as batches on the network's input grid."""
