"""Person boxes, tracks and keypoints of videos."""
