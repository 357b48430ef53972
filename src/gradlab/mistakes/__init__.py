"""Common mistakes in backpropagation, one small file each: broken, fixed, and measured."""
