"""The Hydra launcher `hydra/launcher=fused`, which trains networks of equal shapes in stacks."""
