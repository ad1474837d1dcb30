"""What a request does before and after its first pass: images and masks, a second pass, and a refiner."""
