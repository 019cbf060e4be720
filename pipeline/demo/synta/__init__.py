"""Syn-TA: motions of simple bodies in front of scenes, rendered with everything that is known of them."""
