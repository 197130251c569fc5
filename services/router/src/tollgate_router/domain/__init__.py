"""Pure values and rules of the router: targets, choice, edits of bodies, filters of replies, meanings of errors."""
