"""What reads runs and predictions for their pages."""
