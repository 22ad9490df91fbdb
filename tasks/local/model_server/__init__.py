"""A language model on one's own processor, behind OpenAI's `/v1/completions`: a thin shell round openvino-genai."""
