"""The doctor: runs a user's own training under observation, and says which mistakes it shows."""
