"""Frames of videos and video files, in and out."""
