"""Turn a method's arguments into the call to make.

Written once for both clients, which only make the calls. 0, "" and None leave a choice to the
server.
"""
