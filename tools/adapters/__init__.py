"""The contract's tools in the form of other frameworks, one module each. They are imported here alone."""
