import fc from 'fast-check'
import { expect, test } from 'vitest'
import { postgresSchema, postgresStore } from '../../src/stores/postgres.js'
import { fromText, toText } from '../../src/stores/postgres-text.js'

/** What PostgreSQL would refuse or change comes more often than by chance. */
const anyText = fc
  .array(
    fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\0', '\x10', '0', '1', 'ud800', '\ud800', '\udfff', '😀')),
  )
  .map((parts) => parts.join(''))

test('every string is given back as it was, and what is stored is text that PostgreSQL takes', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const stored = toText(text)
      expect(stored.includes('\0')).toBe(false)
      expect(stored.isWellFormed()).toBe(true)
      expect(fromText(stored)).toBe(text)
    }),
  )
})

test('no two strings are stored as the same', () => {
  fc.assert(
    fc.property(anyText, anyText, (one, two) => {
      expect(toText(one) === toText(two)).toBe(one === two)
    }),
  )
})

test('what needs no escape is stored as it is', () => {
  for (const text of ['', '{"a":"\\u0000"}', 'ä漢😀\n\t', '\\x10 0']) expect(toText(text)).toBe(text)
})

const pool = { query: async () => ({ rows: [], rowCount: 0, command: '' }), connect: () => Promise.reject(new Error()) }

test('an option that is not what it should be is a TypeError that says so', () => {
  const wrong: [object, RegExp][] = [
    [{ pool: undefined }, /Expected `pool` to be a Pool of `pg`, got undefined/],
    [{ pool: { query() {} } }, /Expected `pool` to be a Pool of `pg`, got an object/],
    [{ pool, listen: 'postgres://' }, /Expected `listen` to be a Pool of `pg`, got "postgres:\/\/"/],
    [{ pool, schema: 'a"; DROP TABLE x; --' }, /Expected `schema` to be a-z, 0-9 and _/],
    [{ pool, schema: '' }, /Expected `schema` to be a-z/],
    [{ pool, prefix: '1a' }, /Expected `prefix` to be a-z, 0-9 and _, not beginning with a digit/],
    [{ pool, maxEvents: 0 }, /Expected `maxEvents` to be a whole number of at least 1, got 0/],
    [{ pool, pollMs: -1 }, /Expected `pollMs` to be a number of milliseconds above 0/],
  ]
  for (const [options, message] of wrong) {
    expect(() => postgresStore(options as Parameters<typeof postgresStore>[0])).toThrow(message)
    expect(() => postgresStore(options as Parameters<typeof postgresStore>[0])).toThrow(TypeError)
  }
})

test('the SQL is printed for those who migrate by other means', () => {
  const sql = postgresSchema({ schema: 'events', prefix: 'sse_' })
  expect(sql).toContain('CREATE SCHEMA IF NOT EXISTS "events";')
  expect(sql).toContain('CREATE TABLE IF NOT EXISTS "events"."sse_streams"')
  expect(sql).not.toContain('steady_')
  expect(postgresSchema()).not.toContain('CREATE SCHEMA')
})

test('an append in a transaction takes a client, not the pool', async () => {
  const store = postgresStore({ pool })
  const append = (transaction: unknown) =>
    store.append('s', [{ event: undefined, data: '', key: undefined }], { transaction })
  await expect(append(pool)).rejects.toThrow(/Expected `transaction` to be the client .* got the pool/)
  await expect(append('BEGIN')).rejects.toThrow(/Expected `transaction` to be a client of `pg`, got "BEGIN"/)
})
