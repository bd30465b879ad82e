"""The bundle: the folder or .zip that is deployed to a device."""
