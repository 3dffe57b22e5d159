"""From recordings to shards: checking, preparing, on one machine or a cluster."""
