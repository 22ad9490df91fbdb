"""The way in and the way out: HTTP and WebSocket on one side, the document, the queue and the stream on the other."""
