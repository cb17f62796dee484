"""What can be named, and what a name means: Ref, registries, Variant, Training, Run, presets."""
