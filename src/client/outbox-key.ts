import { expect } from '../protocol/options.js'

/** The idempotency key of a message: the user's, or a new one. @throws TypeError for what no header can carry. */
export function readKey(key: unknown = randomId()): string {
  // Blanks at the ends are trimmed on the way, so that the server would see another key.
  const isKey = typeof key === 'string' && key.length <= 255 && /^[!-~]([ -~]*[!-~])?$/.test(key)
  expect(isKey, 'key', 'to be 1 to 255 characters of printable ASCII', key)
  return key
}

/** Enough to be the only one. `randomUUID` is missing in pages that are not secure. */
export function randomId(): string {
  const { crypto } = globalThis as { crypto?: Partial<Crypto> }
  if (crypto?.randomUUID) return crypto.randomUUID()
  return Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32).toString(36)).join('-')
}
