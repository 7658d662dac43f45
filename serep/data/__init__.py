"""What is stored, and how: schemas, heads, render shards, images and video."""
