"""Any network in any training loop under observation: `gradlab.watch`."""
