"""What CookCam does, a package for each feature; a feature reaches another through its service."""
