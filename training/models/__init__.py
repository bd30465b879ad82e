"""The networks: registry, construction, pretrained weights, frozen layers, complexity."""
