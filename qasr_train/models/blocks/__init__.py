"""What families are built of: features, decoding loop, layers compiled or computed again, encoders that several have."""
