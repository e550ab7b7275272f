"""What trains: the loop, the optimiser, the state of a stopped training, validation."""
