"""Fine-tuning of a video backbone on the classes of a data set (DANCE supplement, section 2.1 and Table 1)."""
