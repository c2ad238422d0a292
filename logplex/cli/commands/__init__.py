"""
The commands of ``logplex``, one module for each subject.
"""
