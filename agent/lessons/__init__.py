"""Training rows for the embedded language model: requests in seven languages, each with the frame that it asks for."""
