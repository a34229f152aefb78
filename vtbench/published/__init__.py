"""The literature's numbers and claims as data, each with its source; loaders for them. Nothing here is measured."""
