"""A page as its reader's browser would take it apart."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.texts = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]

    def images(self):
        return [attrs for tag, attrs in self.tags if tag == "img"]
