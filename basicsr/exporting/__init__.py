"""Networks for other programs: weights alone, ONNX and ``torch.export`` programs, with what is known of them."""
