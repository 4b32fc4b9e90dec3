"""The embedded default: PostgreSQL and local fakes for the outside services.

A fake speaks the wire protocol of the service it stands for, on its own listener, so that
`cookcam dev` and the tests run the real client libraries. The program itself never knows that it
talks to one: nothing outside this package and the command line imports it.
"""
