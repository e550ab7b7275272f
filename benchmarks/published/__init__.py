"""The method's procedures as public code bases of this family have them, for comparison.

They are written anew, and plainly, after what IRN, SEAM, EPS and SMAF's release do: networks layer
by layer, views as batches of a photograph and its mirror image, Pillow and NumPy for photographs.
"""
