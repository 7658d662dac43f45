"""One thin module per DVC stage: parameters and files in, one library call, files and metrics out."""
