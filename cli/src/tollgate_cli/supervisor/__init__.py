"""Starts the processes of the product, keeps them running and stops them. Standard library only, to stay small."""
