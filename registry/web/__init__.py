"""Pages for readers and editors, rendered on the server in each interface language. They work without scripts.

    router.py                all pages together
    page/                    what all pages share: the request, rendering, caches, errors, sliders, names, citations
    deals/, portfolio/       the pages of one deal and of all deals; `charts/` has their charts and maps
    recording/, articles/    forms for events and for articles; `forms/` generates the fields of both
    imports/                 imports of sheets
    sign_in/                 sessions, and signing in through an OpenID provider
    templates/               a template has the name of its page

Each other module is a page. `registry.formatting` writes values as text.
"""
