"""Measuring images: tiles, metrics over data sets, baselines, tables, pictures and records."""
