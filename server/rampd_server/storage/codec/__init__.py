"""Between the values of the domain and the texts that Redis holds.

The words here and in all of `storage/`:

- A *value* is what the domain has. Its *text* is how Redis holds it; `read_…` makes the value of a text, `write_…` the text of a
  value. Each value has one text.
- A *field* is a name in a hash or in an entry of a stream, and has one text. A *section* is one key of a component: `rollout`,
  `releases`, `queue`.
- An *entry* is one of the feed: what servers apply. An *event* is one of a history: what people read. Both come of one change,
  with one id.
- A *patch* is what a change writes to the sections.
- A *record* is what is kept of one request, or of a client's last batch, so that a repeat is known.
"""
