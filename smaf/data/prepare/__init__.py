"""Data sets in other layouts, or with parts missing, brought into VOC layout: `smaf prepare`."""
