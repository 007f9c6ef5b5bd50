"""What happens to what is kept: a subject forgotten, small objects packed, leftovers swept away."""
