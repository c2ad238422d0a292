"""
A client of Redis. It knows of Logplex only the errors that it raises.
"""
