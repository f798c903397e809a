"""Attention back-ends and the region kernel, each behind one function."""
