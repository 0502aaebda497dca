"""Several devices that train one network: processes, collectives, launch."""
