"""The fused launcher: the jobs of a sweep that can share a stack are trained as one."""
