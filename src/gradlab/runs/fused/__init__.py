"""The fused launcher: trains the jobs of a sweep in stacks, in several processes."""
