"""Models on disk: Hugging Face CodeGen folders in and out, and where models are found. Imports no JAX."""
