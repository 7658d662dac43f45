"""Animations and pictures that other programs open."""
