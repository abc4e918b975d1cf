"""finesieve inside other frameworks: `langchain`, `llamaindex` and `haystack`.

Each module needs its framework, which an extra of the same name brings. What they all share is
`frame`: how the server is asked, what a hit becomes, which errors travel how.
"""
