"""A Hydra launcher, `hydra/launcher=fused`, that trains networks of the same shapes as one."""
