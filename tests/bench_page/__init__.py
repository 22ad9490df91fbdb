"""The page, measured in a browser: its size, its frames while a reply grows, its memory, a long conversation."""
