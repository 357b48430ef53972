"""Record the gradients of any network in any training loop: `gradlab.watch`."""
