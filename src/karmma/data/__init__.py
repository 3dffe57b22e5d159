"""From manifests to batches: which segments there are, reading and caching them, and who is absent."""
