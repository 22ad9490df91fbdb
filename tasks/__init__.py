"""What happens to a message once it is accepted, and what both sides of the queue share."""
