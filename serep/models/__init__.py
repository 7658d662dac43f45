"""Networks and linear models: expression encoders, mesh decoders, rigs, the capture network."""
