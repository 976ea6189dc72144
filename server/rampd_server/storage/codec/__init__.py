"""Converts between the values of the domain and the texts that Redis holds.

The words here and in all of `storage/`:

- A *value* is an object of the domain. Its *text* is how Redis holds it. `read_…` turns a text into a value, `write_…` turns a
  value into a text. Each value has exactly one text.
- A *field* is a name in a hash or in an entry of a stream, and has one text. A *section* is one key of a component: `rollout`,
  `releases`, `queue`.
- An *entry* is an item of the feed: servers apply it. An *event* is an item of a history: people read it. One change makes both,
  and both have the same id.
- A *patch* says what a change writes to the sections.
- A *record* is kept for each request, and for the last batch of each client, so that a repeat is recognized.
"""
