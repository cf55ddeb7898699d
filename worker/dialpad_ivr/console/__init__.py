"""The console: a local web page with a form, a preview, test requests and a reference for each task.

    forms.py          input schema to form fields, form values to payload
    preview.py        the payload validated, and as HTTP request, curl command and workflow task
    test_requests.py  test requests, through the engine or directly to Dialpad
    output.py         the paths of a task's output
    search.py         the search
    app.py            the pages

Needs the extra `console`. For one local user: it has no sign-in, listens on loopback only, and rejects cross-origin
requests (`dialpad_ivr.http_server.reject_cross_origin`).
"""
