"""What is noted of torch's functions, when the user's training calls them."""
