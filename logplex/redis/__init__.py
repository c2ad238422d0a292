"""
A client of Redis. All that it knows of Logplex is the errors that it raises.
"""
