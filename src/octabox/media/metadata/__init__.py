"""What a file was made from, inside it: our own words, and those of other programs."""
