"""A YAML loader that accepts what Go's library does: tabs, repeated anchors, more documents."""

import yaml


class Loader(yaml.SafeLoader):
    """Composes the nodes of one text; it constructs no objects."""

    def first(self) -> yaml.Node | None:
        """Return the first document, or None if there is none."""
        return self.get_node() if self.check_node() else None

    def following(self) -> int | None:
        """Return the line, from 1, of the first text after the first document, or None.

        That text need not be valid YAML.
        """
        try:
            if not self.check_node():
                return None
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
        except yaml.YAMLError:
            mark = None
        return self.line + 1 if mark is None else int(mark.line) + 1

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; an anchor may be defined again, as YAML allows."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def scan_to_next_token(self) -> None:
        """Skip spaces and comments as libyaml does: a tab counts as a space if no key can begin."""
        while True:
            self._skip_blanks()
            if self.peek() == "#":
                while self.peek() not in "\0\r\n\x85\u2028\u2029":
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def _skip_blanks(self) -> None:
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
        tabs_are_spaces = bool(self.flow_level) or not self.allow_simple_key
        while self.peek() == " " or (tabs_are_spaces and self.peek() == "\t"):
            self.forward()
