"""What crosses the wire: messages, codec, every cryptographic call, errors by number."""
