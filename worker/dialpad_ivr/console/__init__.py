"""The console: a page on this machine that is to our tasks what an API's reference page is to the API.

    forms.py      a task's schema as the fields of a form, and what is filled in as a task's input
    prepared.py   that input checked, and as an HTTP request, a curl command and a workflow's task
    test_requests.py a test request, through the engine or straight to Dialpad
    search.py     what can be searched for
    app.py        the pages

Needs the extra `console`. It is for one person at this machine: it has no sign-in, listens on loopback only, and
refuses other web pages (`dialpad_ivr.worker.health.not_for_web_pages`).
"""
