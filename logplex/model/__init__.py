"""
What is routed to whom: frozen values, without I/O.
"""
