"""The edge to the insurer's API: signing, calling, classifying answers, retrying."""
