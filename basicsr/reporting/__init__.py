"""What runs have left in their folders, read again: a page to look at, and tables that compare runs."""
