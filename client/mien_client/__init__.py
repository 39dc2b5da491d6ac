"""Where the face is: sources, the confined face process, training, and the one door out."""
