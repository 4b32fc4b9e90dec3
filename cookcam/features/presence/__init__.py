"""What people are doing, told to those who follow them and those they cook with."""
