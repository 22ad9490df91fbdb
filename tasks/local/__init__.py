"""What a laptop needs and a server does not."""
