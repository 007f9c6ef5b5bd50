"""What people are served: what it was, what it would be, and that nothing is taken from them unannounced."""
