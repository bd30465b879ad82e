"""Images: found, read, decoded and resized, and watched for."""
