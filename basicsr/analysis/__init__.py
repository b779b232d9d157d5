"""Image quality without a reference: scores of discriminators, and how well they agree with people."""
