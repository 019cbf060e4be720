"""Motion transferability: is a motion known where its context is not?"""
