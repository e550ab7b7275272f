"""A folder of photographs with labels of any usual kind becomes a data set: `smaf init`."""
