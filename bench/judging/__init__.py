"""What the accuracy bench is made of: seeds, runs, scores, tables and plots."""
