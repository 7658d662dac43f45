"""Joins heads, codes and a renderer into labelled images."""
