"""The demo data set: rendered scenes, exact masks, saliency maps with a detector's faults."""
