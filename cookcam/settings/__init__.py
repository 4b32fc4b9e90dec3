"""The settings of the program: what they are (`sections`), how their text is read (`readers`)."""
