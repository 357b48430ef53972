"""Records the signals and gradients of each layer: probes on modules, statistics, rows."""
