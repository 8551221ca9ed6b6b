"""Speed and memory, as ratios against something else measured in the same run."""
