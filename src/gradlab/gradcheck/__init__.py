"""The gradient check: analytic gradients against finite differences, and where an error enters."""
