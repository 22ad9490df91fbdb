"""What a person lives through, with every part real: named for it, one file a story."""
