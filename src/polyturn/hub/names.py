"""The files of a model folder, by the names that Hugging Face gives them."""

import re

CONFIG = "config.json"
GENERATION = "generation_config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
TOKENIZER_GPT2 = ("vocab.json", "merges.txt", "added_tokens.json")  # older releases have these
