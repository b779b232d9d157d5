"""Image arrays and tensors in, image arrays and tensors out: colour, resampling, blur, sharpening, JPEG."""
