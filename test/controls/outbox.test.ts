import { test } from 'vitest'
import type { Outbox } from '../../src/client/outbox.js'
import { type MakeOutbox, type OutboxParts, ourOutbox, outboxKeeps } from '../property/outbox.js'
import { finds, patience } from '../property/runs.js'

/** Our outbox, in which one thing is done wrong. */
const spoilt =
  (spoil: (parts: OutboxParts) => OutboxParts, mend: (outbox: Outbox) => Outbox = (outbox) => outbox): MakeOutbox =>
  (parts) =>
    mend(ourOutbox(spoil(parts)))

/** The same outbox with another method in the place of one. */
function instead(outbox: Outbox, methods: Partial<Outbox>): Outbox {
  return new Proxy(outbox, {
    get(target, name) {
      const own: unknown = Reflect.get(methods, name)
      const value: unknown = own ?? Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

let made = 0
const fresh = () => `spoilt-${made++}`

const shapes: readonly (readonly [string, MakeOutbox, RegExp])[] = [
  [
    'lets what is behind a failed message overtake it',
    spoilt(
      (parts) => parts,
      (outbox) =>
        instead(outbox, {
          send: (data, options = {}) => outbox.send(data, options.retry === false ? options : { lane: fresh() }),
        }),
    ),
    /out of order/,
  ],
  [
    'makes a new key for every attempt',
    spoilt((parts) => ({
      ...parts,
      fetch: (input, init = {}) => {
        const headers = new Headers(init.headers)
        headers.set('idempotency-key', fresh())
        return parts.fetch(input, { ...init, headers })
      },
    })),
    /handled twice/,
  ],
  [
    'removes a message from the storage when it is sent, not when it is accepted',
    spoilt((parts) => {
      const names = new Map<string, string>()
      const remember = (name: string, text: string) => names.set((JSON.parse(text) as { body: string }).body, name)
      return {
        ...parts,
        storage: {
          ...parts.storage,
          write(name, text) {
            remember(name, text)
            return parts.storage.write(name, text)
          },
          async read(name) {
            const text = await parts.storage.read(name)
            if (text !== null) remember(name, text)
            return text
          },
        },
        fetch(input, init) {
          const name = names.get(String(init?.body))
          if (name !== undefined) void parts.storage.remove(name)
          return parts.fetch(input, init)
        },
      }
    }),
    /lost: .* was stored|did not end with its outbox|was not handled/,
  ],
  [
    'drops the oldest and tells nobody',
    spoilt(
      (parts) => ({ ...parts, overflow: 'drop-oldest' }),
      (outbox) =>
        instead(outbox, {
          send: (data, options) =>
            new Promise((resolve, reject) => {
              outbox.send(data, options).then(resolve, (error: { code: string }) => {
                if (error.code !== 'OUTBOX_FULL') reject(error)
              })
            }),
        }),
    ),
    /unaccounted/,
  ],
  [
    'says that a message was closed or has expired, though an attempt left',
    spoilt(
      (parts) => parts,
      (outbox) =>
        instead(outbox, {
          send: (data, options) =>
            outbox.send(data, options).catch((error: { code: string }) => {
              if (error.code === 'UNCERTAIN') Object.assign(error, { code: 'EXPIRED' })
              throw error
            }),
        }),
    ),
    /told falsely/,
  ],
  [
    'takes in from the storage all that there is',
    spoilt((parts) => ({ ...parts, maxItems: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY })),
    /bound passed/,
  ],
  [
    'forgets its timers when it is closed',
    spoilt(
      (parts) => parts,
      (outbox) => instead(outbox, { close: async () => {} }),
    ),
    /left behind|unaccounted/,
  ],
]

test.each(shapes)('an outbox that %s is found', { timeout: patience(60_000) }, async (_, make, why) => {
  await finds(outboxKeeps(make), 500, why)
})
