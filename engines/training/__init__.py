"""Training: the only place that imports torch. Nothing here runs in the daemon."""
