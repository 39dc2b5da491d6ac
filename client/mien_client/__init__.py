"""Where the face is: capture, the confined face process, training, and the one door out."""
