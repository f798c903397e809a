"""Data for training: what there is, looked at and converted, and what a teacher makes."""
