"""`gradlab cure`: trains a run again with each remedy that its findings propose, and ranks them."""
