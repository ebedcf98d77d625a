"""Where a base model's files are: the catalogue, the hub, a local folder, or the wheel that needs no network."""
