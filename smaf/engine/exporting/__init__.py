"""Masks out to annotation tools (`smaf export`), and corrected ones back (`smaf import`)."""
