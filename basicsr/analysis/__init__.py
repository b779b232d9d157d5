"""Analyses of trained models: spectra and their errors, what critics react to, and quality without a reference."""
