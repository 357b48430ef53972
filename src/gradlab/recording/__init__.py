"""What the gradient does in each layer: probes on modules, statistics, rows."""
